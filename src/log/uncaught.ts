import { errorFields } from './error-fields.ts'

const EVENTS = ['uncaughtException', 'unhandledRejection'] as const

/**
 * From now on an uncaught error is printed on standard error, with the fields that the log would have, and ends the
 * process with 1. Node would print every property of it.
 * @param what the part of the program, before the error
 * @returns a function that ends this
 */
export function printUncaught(what: string): () => void {
  const print = (err: unknown) => {
    process.stderr.write(`${what}: ${JSON.stringify(errorFields(err))}\n`, () => process.exit(1))
  }
  for (const event of EVENTS) process.on(event, print)
  return () => {
    for (const event of EVENTS) process.removeListener(event, print)
  }
}
