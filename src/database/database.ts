import { DeadlineError, withDeadline } from '../async/deadline.ts'
import type { Log } from '../log/log.ts'
import { type Client, createClient, type Sql, type TransactionSql } from './client.ts'
import { isConflict, repeatOnConflict } from './conflict.ts'
import { asUnavailable, DatabaseUnavailableError, failureOf, isServerFailure } from './failure.ts'
import { MissedCalls, type Received } from './missed-calls.ts'
import { type StatementChange, StatementHealth } from './statement-health.ts'

/** Longest wait for one statement, unless its caller says otherwise, in milliseconds. */
const STATEMENT_DEADLINE_MS = 5_000
const CONNECT_TIMEOUT_MS = 3_000
/** How long calls under way may continue on a pool that is replaced, in seconds. */
const RETIREMENT_SECONDS = 5
/** The shortest time between two replacements of a pool whose sessions are read-only, in milliseconds. */
const READ_ONLY_MS = 1_000

export interface DatabaseOptions {
  /** Connections at most. */
  max: number
  applicationName: string
  log: Log
}

export interface CallOptions {
  /** Deadline in milliseconds, repetitions included; `STATEMENT_DEADLINE_MS` unless given. */
  deadlineMs?: number
  /** False: `work` is called once, for one that must not be repeated after a conflict. Default true. */
  retry?: boolean
  /**
   * The kind of the call: failures are counted by it. Default: the text of `work`, which is the same for all calls from
   * one place in the code. Given where `work` only wraps a function of the caller.
   */
  kind?: string
  /** True: the statements may last long, so a missed deadline does not count as a failure of the database. Default false. */
  mayBeSlow?: boolean
}

/** What watches the calls of the pool. */
export interface StatementWatch {
  /** Whether the database answers the health check. While it does not, calls that miss their deadline do not count. */
  isAnswering: () => boolean
  /** The calls began to fail again and again, or no longer fail. */
  onChange: (change: StatementChange) => void
}

export interface PoolUsage {
  /** Connections at most, and as many as are open. */
  max: number
  connections: number
  /** Calls that hold or await a connection. */
  inFlight: number
  /** Calls that ended: successfully, because the database could not be used, or with an error of their own. */
  calls: { succeeded: number; unavailable: number; failed: number }
  /** How often the pool was replaced as dead. */
  replacements: number
}

/**
 * The main pool. Every call has its own deadline, because postgres.js waits without limit for a peer that is connected and
 * does not respond. After a missed deadline the pool may hold such connections, so it is replaced: at once when it received
 * nothing during the call, otherwise when `MissedCalls` finds that it is not only busy.
 */
export class Database {
  readonly #options: DatabaseOptions
  readonly #address: Promise<string>
  #resolveAddress: (url: string) => void = () => undefined
  #url: string | undefined
  #client: Client | undefined
  #inFlight = 0
  #replacements = 0
  #readOnlyMs = Number.NEGATIVE_INFINITY
  #watch: StatementWatch = { isAnswering: () => false, onChange: () => undefined }
  readonly #statements = new StatementHealth(change => this.#watch.onChange(change))
  readonly #missed = new MissedCalls()
  readonly #calls = { succeeded: 0, unavailable: 0, failed: 0 }

  constructor(options: DatabaseOptions) {
    this.#options = options
    this.#address = new Promise(resolve => {
      this.#resolveAddress = resolve
    })
  }

  /** Sets what watches the calls. To be called once, before `open`. */
  watch(watch: StatementWatch): void {
    this.#watch = watch
  }

  /** Current usage of the pool, and counts since the start. */
  usage(): PoolUsage {
    return {
      max: this.#options.max,
      connections: this.#client?.connections() ?? 0,
      inFlight: this.#inFlight,
      calls: { ...this.#calls },
      replacements: this.#replacements
    }
  }

  /** Resolves with the address once it is known: for the embedded server, after its start. */
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
   * Runs statements on the pool. After a deadlock or a serialization failure `work` is called again, as
   * `repeatOnConflict` does: it is one statement, which had no effect then, or several that may be repeated.
   * @throws {DatabaseUnavailableError} when the database cannot be used, missed the deadline, or reported a conflict
   * again and again; after a missed deadline a write may have taken effect all the same, so it must be idempotent
   */
  async run<T>(
    work: (sql: Sql) => Promise<T>,
    { deadlineMs = STATEMENT_DEADLINE_MS, retry = true, kind, mayBeSlow = false }: CallOptions = {}
  ): Promise<T> {
    const client = this.#client
    const ended = this.#statements.isClear ? undefined : this.#statements.began(kind ?? String(work))
    const received = client?.received()
    let working: Promise<T> | undefined
    this.#inFlight++
    try {
      if (!client) throw new DatabaseUnavailableError('database_unreachable')
      const attempt = () => work(client.sql)
      const onRepeat = (err: unknown) => this.#options.log.warn({ err }, 'repeated after a database conflict')
      working = retry ? repeatOnConflict(attempt, { deadlineMs, onRepeat }) : attempt()
      const result = await withDeadline(working, deadlineMs)
      this.#calls.succeeded++
      if (!this.#statements.isClear) this.#statements.succeeded(kind ?? String(work))
      return result
    } catch (err) {
      // What arrived while the event loop was blocked is read before it is decided that nothing arrived.
      if (err instanceof DeadlineError) await new Promise(resolve => setImmediate(resolve))
      const isSlow = mayBeSlow && failureOf(err) === 'database_timeout'
      if (!isSlow && this.#isFailure(err, client)) this.#statements.failed(kind ?? String(work), err)
      else if (!this.#statements.isClear) this.#statements.repeated(kind ?? String(work))
      if (client && received) this.#replaceAfter(err, client, working, received)
      const reported = isConflict(err) ? new DatabaseUnavailableError(failureOf(err), err) : asUnavailable(err)
      this.#calls[reported instanceof DatabaseUnavailableError ? 'unavailable' : 'failed']++
      throw reported
    } finally {
      this.#inFlight--
      ended?.()
    }
  }

  /**
   * Runs one transaction; it is rolled back when `work` rejects. The server cancels a statement that lasts beyond the
   * deadline, so that waiting for a lock costs the caller the transaction and leaves the pool as it is.
   *
   * After a deadlock or a serialization failure `work` is called again in a new transaction, as `repeatOnConflict` does.
   * So everything that `work` changes must be in the database, or must be the same after a second call; give
   * `retry: false` where that is not so. Locks are taken in the order of `LOCK_ORDER`.
   * @throws {DatabaseUnavailableError} as `run`
   */
  transaction<T>(
    work: (sql: TransactionSql) => Promise<T>,
    { deadlineMs = STATEMENT_DEADLINE_MS, ...options }: CallOptions = {}
  ): Promise<T> {
    const endMs = performance.now() + deadlineMs
    const begun = (sql: Sql) =>
      sql.begin(async tx => {
        const leftMs = Math.max(1, Math.ceil(endMs - performance.now()))
        // Sent before the first statement and together with it: it costs no network round trip.
        const limit = tx.unsafe(`set local statement_timeout = ${leftMs}`).execute()
        const [, result] = await Promise.all([limit, work(tx)])
        return result
      }) as Promise<T>
    return this.run(begun, { deadlineMs: deadlineMs + 500, kind: String(work), ...options })
  }

  /** Replaces the pool, as after a time without answers: its connections may be lost without an error. */
  rebuild(): void {
    if (this.#client) this.#replace(this.#client)
  }

  /** Waits at most `seconds` for calls under way, then closes every connection. Idempotent. */
  async close(seconds = RETIREMENT_SECONDS): Promise<void> {
    const client = this.#client
    this.#client = undefined
    this.#missed.clear()
    await client?.retire(seconds)
  }

  #create(url: string): Client {
    const { max, applicationName } = this.#options
    return createClient(url, { max, applicationName, connectTimeoutMs: CONNECT_TIMEOUT_MS })
  }

  /** Whether a failed call counts. Calls of a pool that was replaced meanwhile end late, for a reason that is over. */
  #isFailure(err: unknown, client: Client | undefined): boolean {
    if (err instanceof DeadlineError) return client === this.#client && this.#watch.isAnswering()
    return isServerFailure(err)
  }

  /** Replaces the pool where its connections are the reason: they may be dead, or sessions that are read-only. */
  #replaceAfter(err: unknown, client: Client, working: Promise<unknown> | undefined, received: Received): void {
    if (err instanceof DeadlineError) {
      if (client !== this.#client) return
      if (working === undefined || !MissedCalls.hasAnswered(client, received)) this.#replace(client, err)
      else this.#missed.add(client, working, err, dead => this.#replace(client, dead))
    }
    // A new connection may lead to another server, or have another default.
    else if (failureOf(err) === 'database_read_only' && performance.now() - this.#readOnlyMs > READ_ONLY_MS) {
      this.#readOnlyMs = performance.now()
      this.#replace(client)
    }
  }

  #replace(client: Client, err?: DeadlineError): void {
    if (client !== this.#client || this.#url === undefined) return
    this.#client = this.#create(this.#url)
    this.#replacements++
    this.#missed.clear()
    if (err) this.#options.log.warn({ err }, 'database pool replaced')
    else this.#options.log.debug({}, 'database pool replaced')
    void client.retire(RETIREMENT_SECONDS)
  }
}
