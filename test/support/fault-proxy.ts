import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Command, Conditions, Cut, Stats, Target } from './fault-proxy/commands.ts'
import { spawnNode } from './node-process.ts'

const PROCESS = fileURLToPath(new URL('./fault-proxy/process.js', import.meta.url))

/**
 * A TCP relay in a process of its own: neither the test's event loop nor its file descriptors are affected. Each
 * promise settles when the command has been carried out, and rejects when the process has ended.
 */
export interface FaultProxy {
  /** Port on 127.0.0.1. */
  readonly port: number
  /** The given postgres URL with host and port replaced by the proxy's; everything else is kept. */
  url(databaseUrl: string): string
  /**
   * Network conditions for all connections, present and future; `{}` removes all restrictions. They apply to data that
   * are already queued, too. The first byte of a client is delayed by the round trip of a TCP handshake in addition.
   */
  setConditions(conditions: Conditions): Promise<void>
  /**
   * Sends RST to both sides of every open connection, or of the newest one. Undelivered data are lost.
   * @returns the number of connections that were reset
   */
  reset(which?: 'all' | 'newest'): Promise<number>
  /**
   * Closes the server's side of every open connection. The client's side stays open and silent.
   * @returns the number of connections
   */
  halfOpen(): Promise<number>
  /**
   * While on, nothing is delivered in either direction, not even the end of a connection; new connections are accepted.
   * Afterwards the data that were sent meanwhile are delivered, as TCP does by retransmission.
   * @param forget afterwards, connections with undelivered data stay silent permanently instead, as behind a firewall
   * that has lost its state. Default false
   */
  blackHole(on: boolean, options?: { forget?: boolean }): Promise<void>
  /** While on, new connections are refused. Open ones continue. */
  refuse(on: boolean): Promise<void>
  /**
   * Arms a cut: RST or FIN to both sides after exactly `bytes` more bytes in the given direction, which are delivered.
   * A cut for future connections replaces the armed one; one for a connection replaces that connection's in the same
   * direction. A receiver that does not read may lose bytes by an RST.
   */
  cutAfter(cut: Cut): Promise<void>
  /** Removes all armed cuts. */
  disarm(): Promise<void>
  stats(): Promise<Stats>
  /** Ends the process and with it all connections. Idempotent. */
  close(): Promise<void>
}

/** Starts a fault proxy in front of a server. It is closed at teardown. */
export async function startFaultProxy(t: Pick<Test, 'teardown'>, target: Target): Promise<FaultProxy> {
  const child = spawnNode(PROCESS, [JSON.stringify(target)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('the fault proxy has no standard streams')
  // Its end is detected because results are missing.
  stdin.on('error', () => undefined)
  const waiting: Pending[] = []
  let ended = false
  createInterface(stdout)
    .on('line', line => waiting.shift()?.resolve(line))
    .on('close', () => {
      ended = true
      for (const { reject } of waiting.splice(0)) reject(new Error('the fault proxy has ended'))
    })

  function nextLine(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (ended) reject(new Error('the fault proxy has ended'))
      else waiting.push({ resolve, reject })
    })
  }

  async function send(command: Command): Promise<string> {
    const line = nextLine()
    stdin?.write(`${JSON.stringify(command)}\n`)
    return line
  }

  async function close() {
    stdin?.end()
    await exited
  }

  t.teardown(close)
  const port = Number(await nextLine())
  return {
    port,
    url(databaseUrl) {
      const url = new URL(databaseUrl)
      url.hostname = '127.0.0.1'
      url.port = String(port)
      return url.href
    },
    async setConditions(conditions) {
      await send({ name: 'conditions', conditions })
    },
    async reset(which = 'all') {
      return Number(await send({ name: 'reset', which }))
    },
    async halfOpen() {
      return Number(await send({ name: 'half_open' }))
    },
    async blackHole(on, { forget = false } = {}) {
      await send({ name: 'black_hole', on, forget })
    },
    async refuse(on) {
      await send({ name: 'refuse', on })
    },
    async cutAfter(cut) {
      await send({ name: 'cut', cut })
    },
    async disarm() {
      await send({ name: 'disarm' })
    },
    async stats() {
      return JSON.parse(await send({ name: 'stats' }))
    },
    close
  }
}

/** The result of a command that has been sent. */
interface Pending {
  resolve: (line: string) => void
  reject: (err: Error) => void
}
