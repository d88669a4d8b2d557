import postgres from 'postgres'
import { type DatabaseTarget, parseDatabaseUrl } from './database-url.ts'
import { HostConnector } from './host-connector.ts'
import { DIRECT_SETTINGS, POOLED_SETTINGS } from './session-settings.ts'

export type Sql = postgres.Sql
export type TransactionSql = postgres.TransactionSql

/** The changes of patches/postgres+*.patch that this file relies on. */
const DRIVER_PATCH = 'trading-health.1'

if (!('patch' in postgres) || postgres.patch !== DRIVER_PATCH) {
  throw new Error('the installed package postgres is not patched: run `node scripts/patch-dependencies.js`')
}

/** A postgres.js client with sockets of ours, so that they can be closed even when the peer does not respond. */
export interface Client {
  sql: Sql
  /** Number of sockets that are not closed, those that are still connecting included. */
  connections(): number
  /** The bytes that each open connection has received, by an object that is the connection's own. */
  received(): ReadonlyMap<object, number>
  /** Ends the client at once: everything under way is rejected and every socket is closed. Idempotent. */
  destroy(): void
  /** Lets what is under way finish for at most `seconds`, then destroys the client. Idempotent, never rejects. */
  retire(seconds: number): Promise<void>
}

export interface ClientOptions {
  /** Maximum number of connections. */
  max: number
  /** Shown in `pg_stat_activity` and in the server's log, unless the URL names another. */
  applicationName: string
  /** Deadline of one connection attempt on one host, and of the sign-in after it, in milliseconds. */
  connectTimeoutMs: number
  /** Pause between two connection attempts, in milliseconds. Default 50 after a lost connection, 100 after a failed one. */
  reconnectMs?: number
  /** Called each time when the server has accepted a session. */
  onSession?: () => void
}

/**
 * Longest pause between two connection attempts, in seconds: a call that must wait for it still ends in time.
 * postgres.js' own grows to 20.
 */
const MAX_BACKOFF_SECONDS = 0.1

/** Parsed once: hosts are remembered by identity, and the file of `sslrootcert` is read once. */
const targets = new Map<string, DatabaseTarget>()

/** The targets that have refused `DIRECT_SETTINGS`. */
const limited = new WeakSet<DatabaseTarget>()

/**
 * Makes a client; it connects with its first statement. It works through a transaction-pooling pgbouncer: no prepared
 * statements, no look-up of types, and start-up parameters that pgbouncer refuses are sent only until it has refused
 * them. With these parameters the settings of the role and of the database have no effect.
 * @throws {DatabaseUrlError}
 */
export function createClient(url: string, options: ClientOptions): Client {
  const { max, applicationName, connectTimeoutMs, reconnectMs, onSession } = options
  const target = targets.get(url) ?? parseDatabaseUrl(url)
  targets.set(url, target)
  const connector = new HostConnector(target, connectTimeoutMs, onSession, () => {
    limited.add(target)
    // The driver reads them for each session that it starts.
    for (const name of Object.keys(DIRECT_SETTINGS)) delete sql.options.connection[name]
  })
  const [first] = target.hosts

  // The driver reads options that are not given from PG* variables of the environment.
  const driverOptions = {
    // One, for messages; the connector tries them all. The driver drops errors where it knows of several.
    host: ['path' in first ? first.path : first.host],
    port: ['path' in first ? 0 : first.port],
    user: target.user,
    pass: () => target.password ?? '',
    database: target.database,
    target_session_attrs: target.targetSessionAttrs,
    ssl: false,
    sslnegotiation: null,
    max,
    max_pipeline: 100,
    prepare: false,
    fetch_types: false,
    debug: false,
    idle_timeout: null,
    connect_timeout: connectTimeoutMs / 1000,
    keep_alive: 60,
    backoff: (retries: number) =>
      reconnectMs === undefined ? Math.min(0.05 * 2 ** retries, MAX_BACKOFF_SECONDS) : reconnectMs / 1000,
    connection: {
      application_name: target.applicationName ?? applicationName,
      ...POOLED_SETTINGS,
      ...(limited.has(target) ? {} : DIRECT_SETTINGS)
    },
    onnotice: () => undefined,
    socket: () => connector.connect()
  }
  const sql = postgres(driverOptions as unknown as postgres.Options<Record<string, never>>) as Sql

  function destroy() {
    // It asks each peer to close, which an unresponsive one never does.
    void sql.end({ timeout: 0 })
    connector.destroy()
  }

  async function retire(seconds: number) {
    await sql.end({ timeout: seconds }).catch(() => undefined)
    destroy()
  }

  return { sql, connections: () => connector.size, received: () => connector.received(), destroy, retire }
}
