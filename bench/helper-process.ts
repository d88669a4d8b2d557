import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnNode } from '../test/support/node-process.ts'

/** A process of the bench that answers each line with one line of JSON. */
export interface HelperProcess {
  /** Sends a line and waits for its answer; without a line it waits for the next line of the process. */
  ask(line?: string): Promise<unknown>
  end(): Promise<void>
}

/** @param script compiled, below `build/bench` */
export function startHelper(script: string, args: string[]): HelperProcess {
  const child = spawnNode(join(import.meta.dirname, script), args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) throw new Error('a process without pipes')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  return {
    ask: async line => {
      if (line !== undefined) stdin.write(`${line}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error(`${script} has ended`)
      return JSON.parse(value)
    },
    end: async () => {
      const ended = once(child, 'exit')
      stdin.end()
      await ended
    }
  }
}
