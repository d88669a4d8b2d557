import { connect, type Socket } from 'node:net'
import postgres from 'postgres'

export type Sql = postgres.Sql
export type TransactionSql = postgres.TransactionSql

/** A postgres.js client whose sockets can be taken away from it. */
export interface Client {
  sql: Sql
  /** How many sockets are open, those that are still connecting included. */
  connections(): number
  /**
   * Ends the client at once: everything under way is rejected, every socket is closed, the half-open ones too.
   * Idempotent.
   */
  destroy(): void
  /** Lets what is under way finish for at most `seconds`, then destroys. Idempotent, never rejects. */
  retire(seconds: number): Promise<void>
}

export interface ClientOptions {
  /** Connections at most. */
  max: number
  /** Shown in `pg_stat_activity` and in the server's log. */
  applicationName: string
  /** Deadline of one connection attempt, in milliseconds. */
  connectTimeoutMs: number
}

/**
 * Longest pause between two connection attempts, in seconds: a call that must wait for it still ends in time.
 * postgres.js' own grows to 20.
 */
const MAX_BACKOFF_SECONDS = 0.1

/**
 * Makes a client; it connects with its first statement. It works through a transaction-pooling pgbouncer: no prepared
 * statements, no start-up parameters but the application name, no type look-up of its own.
 *
 * postgres.js ends a connection by asking the peer to hang up, which a mute peer never does, so the sockets are ours:
 * whoever gives the client up closes them.
 */
export function createClient(url: string, { max, applicationName, connectTimeoutMs }: ClientOptions): Client {
  const sockets = new Set<Socket>()
  let destroyed = false

  const sql = postgres(url, {
    max,
    prepare: false,
    fetch_types: false,
    connect_timeout: connectTimeoutMs / 1000,
    backoff: (retries: number) => Math.min(0.05 * 2 ** retries, MAX_BACKOFF_SECONDS),
    connection: { application_name: applicationName },
    onnotice: () => undefined,
    socket: (options: { host: string[]; port: number[]; path: string | false }) =>
      openFirst(options, connectTimeoutMs, socket => {
        if (destroyed) socket.destroy()
        sockets.add(socket)
        socket.once('close', () => sockets.delete(socket))
      })
  } as postgres.Options<Record<string, never>>) as Sql

  function destroy() {
    destroyed = true
    // Its promise settles when every peer has hung up, which a mute one never does.
    void sql.end({ timeout: 0 })
    for (const socket of sockets) socket.destroy()
  }

  async function retire(seconds: number) {
    try {
      await sql.end({ timeout: seconds })
    } finally {
      destroy()
    }
  }

  return { sql, connections: () => sockets.size, destroy, retire }
}

/**
 * Connects to the first of the addresses that answers; each has the whole deadline, in milliseconds. The last one is
 * handed over as it connects, and its failure is told by its events: postgres.js never uses a connection of its pool
 * again for which this rejected.
 */
async function openFirst(
  { host, port, path }: { host: string[]; port: number[]; path: string | false },
  timeoutMs: number,
  track: (socket: Socket) => void
): Promise<Socket> {
  const targets = path ? [{ path }] : host.map((name, i) => ({ host: name, port: port[i] ?? 5432 }))
  for (const [i, target] of targets.entries()) {
    const socket = open(target, timeoutMs)
    track(socket)
    if (i === targets.length - 1 || (await connected(socket))) {
      // postgres.js reads the name from the socket for the TLS server name.
      return 'host' in target ? Object.assign(socket, target) : socket
    }
  }
  throw new Error('the URL names no host')
}

function open(target: { path: string } | { host: string; port: number }, timeoutMs: number): Socket {
  const socket = connect(target)
  const timer = setTimeout(() => {
    socket.destroy(
      Object.assign(new Error('the database did not accept the connection in time'), { code: 'ETIMEDOUT' })
    )
  }, timeoutMs)
  socket.once('connect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
  return socket
}

function connected(socket: Socket): Promise<boolean> {
  return new Promise(resolve => {
    socket
      .once('connect', () => resolve(true))
      .once('error', () => resolve(false))
      .once('close', () => resolve(false))
  })
}
