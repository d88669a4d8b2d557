import type { Log } from '../log.ts'
import { type Client, createClient, type Sql, type TransactionSql } from './client.ts'
import { withDeadline } from './deadline.ts'
import { asUnavailable, DatabaseUnavailableError, DeadlineError } from './failure.ts'

/** Longest wait for one statement, unless its caller says otherwise, in milliseconds. */
export const STATEMENT_DEADLINE_MS = 5_000
const CONNECT_TIMEOUT_MS = 3_000
/** How long a pool that is replaced may go on with what the others have under way, in seconds. */
const RETIREMENT_SECONDS = 5

export interface DatabaseOptions {
  /** Connections at most. */
  max: number
  applicationName: string
  log: Log
}

export interface CallOptions {
  /** Deadline in milliseconds; `STATEMENT_DEADLINE_MS` unless given. */
  deadlineMs?: number
}

/**
 * The main pool. Every call has a deadline of ours, because postgres.js waits for ever for a peer that is connected
 * but mute; a missed one means that such peers may be in the pool, so it is replaced.
 */
export class Database {
  readonly #options: DatabaseOptions
  readonly #address: Promise<string>
  #resolveAddress: (url: string) => void = () => undefined
  #url: string | undefined
  #client: Client | undefined

  constructor(options: DatabaseOptions) {
    this.#options = options
    this.#address = new Promise(resolve => {
      this.#resolveAddress = resolve
    })
  }

  /** The address, once it is known: that of the embedded server is not before it has started. */
  get address(): Promise<string> {
    return this.#address
  }

  /** Gives the pool its address. Nothing connects before the first call. */
  open(url: string): void {
    this.#url = url
    this.#client = this.#create(url)
    this.#resolveAddress(url)
  }

  /**
   * Runs statements on the pool.
   * @throws {DatabaseUnavailableError} when the database cannot be used or missed the deadline; a write may then have
   * taken effect all the same, so it must be idempotent
   */
  async run<T>(work: (sql: Sql) => Promise<T>, { deadlineMs = STATEMENT_DEADLINE_MS }: CallOptions = {}): Promise<T> {
    const client = this.#client
    if (!client) throw new DatabaseUnavailableError('database_unreachable')
    try {
      return await withDeadline(work(client.sql), deadlineMs)
    } catch (err) {
      if (err instanceof DeadlineError) this.#replace(client, err)
      throw asUnavailable(err)
    }
  }

  /**
   * Runs one transaction; it is rolled back when `work` rejects. The server gives up a statement that takes longer than
   * the deadline, so that waiting for a lock costs the caller its transaction and not everybody the pool.
   * @throws {DatabaseUnavailableError} as `run`
   */
  transaction<T>(
    work: (sql: TransactionSql) => Promise<T>,
    { deadlineMs = STATEMENT_DEADLINE_MS }: CallOptions = {}
  ): Promise<T> {
    const begun = (sql: Sql) =>
      sql.begin(async tx => {
        await tx`select set_config('statement_timeout', ${String(deadlineMs)}, true)`
        return await work(tx)
      }) as Promise<T>
    return this.run(begun, { deadlineMs: deadlineMs + 500 })
  }

  /** Replaces the pool, as after a time in which the database was mute: its connections may be dead without a sign. */
  rebuild(): void {
    if (this.#client) this.#replace(this.#client)
  }

  /** Lets what is under way finish for at most `seconds`, then closes every connection. Idempotent. */
  async close(seconds = RETIREMENT_SECONDS): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.retire(seconds)
  }

  #create(url: string): Client {
    const { max, applicationName } = this.#options
    return createClient(url, { max, applicationName, connectTimeoutMs: CONNECT_TIMEOUT_MS })
  }

  #replace(client: Client, err?: DeadlineError): void {
    if (client !== this.#client || this.#url === undefined) return
    this.#client = this.#create(this.#url)
    this.#options.log.warn({ err }, 'database pool replaced')
    void client.retire(RETIREMENT_SECONDS)
  }
}
