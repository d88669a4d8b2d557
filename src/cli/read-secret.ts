import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

const MAX_LINE = 4096

let lines: AsyncIterator<string> | undefined

/**
 * Reads a secret: from a terminal after a prompt, without showing it; else the next line of standard input.
 * @throws when the input ends without one
 */
export async function readSecret(prompt: string): Promise<string> {
  const { stdin, stderr } = process
  if (!stdin.isTTY) {
    lines ??= createInterface({ input: stdin })[Symbol.asyncIterator]()
    const { value, done } = await lines.next()
    if (done || value.length > MAX_LINE) throw new Error('standard input holds no secret')
    return value
  }
  const mute = new Writable({ write: (_chunk, _encoding, written) => written() })
  const terminal = createInterface({ input: stdin, output: mute, terminal: true })
  // Only now: what is typed at the prompt is no longer shown.
  stderr.write(prompt)
  const line = await new Promise<string | undefined>(resolve => {
    terminal.once('line', resolve)
    // Ctrl-C and Ctrl-D.
    terminal.once('close', () => resolve(undefined))
  })
  terminal.close()
  stderr.write('\n')
  if (line === undefined) throw new Error('no secret was given')
  return line
}
