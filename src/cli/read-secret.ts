import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CommandError } from './command-error.ts'

const MAX_LINE = 4096

let lines: AsyncIterator<string> | undefined

/**
 * Reads a secret: on a terminal after a prompt, without an echo; otherwise the next line of standard input.
 * @throws {CommandError} when the input ends without one
 */
export async function readSecret(prompt: string): Promise<string> {
  return process.stdin.isTTY ? readFromTerminal(prompt) : readLine()
}

/**
 * Reads a secret that is being chosen. A terminal has to give it twice, because it is not shown.
 * @throws {CommandError} when the input ends without one, or both differ
 */
export async function readNewSecret(name: string): Promise<string> {
  const secret = await readSecret(`${name}: `)
  if (process.stdin.isTTY && (await readSecret(`${name} again: `)) !== secret) {
    throw new CommandError(`both entries of the ${name} must be the same`)
  }
  return secret
}

async function readLine(): Promise<string> {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const { value, done } = await lines.next()
  if (done) throw new CommandError('standard input has no line with the secret')
  if (value.length > MAX_LINE) throw new CommandError(`a secret has at most ${MAX_LINE} characters`)
  return value
}

async function readFromTerminal(prompt: string): Promise<string> {
  const discard = new Writable({ write: (_chunk, _encoding, written) => written() })
  const terminal = createInterface({ input: process.stdin, output: discard, terminal: true })
  // The terminal does not echo from here on.
  process.stderr.write(prompt)
  const line = await new Promise<string | undefined>(resolve => {
    terminal.once('line', resolve)
    // Ctrl-C and Ctrl-D.
    terminal.once('close', () => resolve(undefined))
  })
  terminal.close()
  process.stderr.write('\n')
  if (line === undefined) throw new CommandError('no secret was entered')
  return line
}
