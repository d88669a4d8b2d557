import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { spawnNode } from './node-process.ts'

const PROCESS = fileURLToPath(new URL('./connection-attacker-process.js', import.meta.url))

/** Hostile connections to one port: idle ones, half-sent headers, and bodies of which one byte a second is sent. */
export interface Attack {
  host: string
  port: number
  /** Connections of each of the three kinds. */
  each: number
  /** The number of connections to open per second, including reopened ones. */
  openPerSecond: number
  /** The path that the bodies are sent to. */
  bodyPath: string
}

/** The number of connections that an attacker has, and has opened so far. */
export interface AttackState {
  open: number
  opened: number
}

/** Starts an attack from a separate process with its own file descriptors. It ends at teardown, or with `stop`. */
export function startAttack(
  t: Test,
  attack: Attack
): { state: () => AttackState; opened(count: number): Promise<void>; stop(): Promise<void> } {
  const child = spawnNode(PROCESS, [JSON.stringify(attack)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('the attacker has no standard streams')
  const ended = once(child, 'exit')
  let state: AttackState = { open: 0, opened: 0 }
  const lines = createInterface(stdout).on('line', line => {
    state = JSON.parse(line)
  })
  const stop = async () => {
    stdin.end()
    await ended
  }
  t.teardown(stop)
  return {
    state: () => state,
    async opened(count) {
      while (state.opened < count) await once(lines, 'line')
    },
    stop
  }
}
