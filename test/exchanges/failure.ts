import { ExchangeError } from '../../src/exchanges/exchange-error.ts'

/**
 * The error that a call of an exchange rejects with, for exact comparison of its fields.
 * @throws {Error} when the call succeeds; any other error of the call is thrown unchanged
 */
export async function failureOf(call: Promise<unknown>): Promise<ExchangeError> {
  try {
    await call
  } catch (err) {
    if (err instanceof ExchangeError) return err
    throw err
  }
  throw new Error('the call did not fail')
}
