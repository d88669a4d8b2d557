import { AnswerTimes } from './answer-times.ts'
import { type Answer, CheckSession } from './check-session.ts'
import { type DatabaseFailure, failureOf } from './failure.ts'
import { SCHEMA_DIFFERENCE } from './needed-schema.ts'

/**
 * What a check found: nothing wrong, or the reason with what was seen. `connecting`: there is no session yet, so what was
 * found before still holds. `latencyMs` is the time of the answer, in milliseconds.
 */
export type CheckResult =
  | { state: 'ok'; latencyMs?: number }
  | { state: DatabaseFailure; cause: unknown; latencyMs?: number }
  | { state: 'connecting' }

export interface DatabaseCheckOptions {
  applicationName: string
  /** Deadline of an answer, in milliseconds. */
  deadlineMs: number
  /** Deadline of connecting to one host, in milliseconds. Default 3000 */
  connectTimeoutMs?: number
  /** Whether the migrations are done: from then on the check compares the schema. Default: never */
  isMigrated?: () => boolean
}

const CONNECT_TIMEOUT_MS = 3_000
/** A connection is closed when the server has not answered a statement for this long: it is unresponsive. */
const UNRESPONSIVE_MS = 3_000
/** Another connection is tried when one has been waited for so long: for its session, or for an answer. */
const SECOND_SESSION_MS = 2_000
const SECOND_ANSWER_MS = 1_000
/** A session that is read-only is replaced after this time: the address may lead to another server by then. */
const READ_ONLY_MS = 500
/** The schema is compared at most once in this time. */
const SCHEMA_INTERVAL_MS = 1_000

/** The files of the database are there when those of this table of the server are. No transaction locks that table. */
const HAS_FILES = "pg_relation_size('pg_catalog.pg_class') > 0"
const STATE = `select pg_is_in_recovery() as is_standby, current_setting('transaction_read_only') = 'on' as is_read_only,
  ${HAS_FILES} as has_files`

interface Row {
  is_standby: boolean
  is_read_only: boolean
  has_files: boolean
  /** Absent when the schema was not compared. */
  difference?: string | null
}

/** What the database says about itself makes it unusable. */
export class DatabaseStateError extends Error {
  override name = 'DatabaseStateError'
}

/**
 * Checks the database on a connection of its own, so that a busy pool cannot delay it: one statement, one round trip.
 * Connecting has its own deadline and continues in the background. A connection that answers late is kept. When one is
 * waited for, another is tried after a while, and the first that answers stays.
 */
export class DatabaseCheck {
  readonly #url: string
  readonly #options: Required<DatabaseCheckOptions>
  readonly #times: AnswerTimes
  #sessions: CheckSession<Row>[] = []
  /** Why the last session failed, until one answers. */
  #failure: unknown
  #comparedMs = Number.NEGATIVE_INFINITY
  #difference: string | null = null
  #onOpen: (() => void) | undefined

  constructor(url: string, options: DatabaseCheckOptions) {
    this.#url = url
    this.#options = { connectTimeoutMs: CONNECT_TIMEOUT_MS, isMigrated: () => false, ...options }
    this.#times = new AnswerTimes(options.deadlineMs)
  }

  /**
   * Runs one check. Never rejects. Settles within 1.2 times the deadline, or, where a session opens meanwhile, within
   * that time after it.
   */
  async check(): Promise<CheckResult> {
    this.#prepare()
    const statement = this.#statement()
    const pending = new Set(this.#sessions.map(session => session.ask(statement)))
    const deadline = this.#deadline()
    try {
      for (;;) {
        const answers = [...pending].map(async answer => ({ answer, of: await answer }))
        const first = await Promise.race([...answers, deadline.passed])
        if (first === undefined) return this.#missed()
        if ('row' in first.of) return this.#judge(first.of)
        pending.delete(first.answer)
        this.#drop(first.of.session)
        this.#failure = first.of.err
        if (pending.size === 0) return this.#failed(first.of.err)
      }
    } finally {
      deadline.cancel()
    }
  }

  /** Closes the connections. The check can be used again. */
  close(): void {
    for (const session of this.#sessions) session.close()
    this.#sessions = []
  }

  /** Removes connections that are of no use, and opens one where there is none to wait for. */
  #prepare(): void {
    for (const session of this.#sessions) {
      if (session.isLost || (session.isOpen && session.waitedMs > UNRESPONSIVE_MS)) this.#drop(session)
    }
    const patienceMs = (session: CheckSession<Row>) => (session.isOpen ? SECOND_ANSWER_MS : SECOND_SESSION_MS)
    const youngest = this.#sessions.at(-1)
    if (youngest && youngest.waitedMs < patienceMs(youngest)) return
    const { applicationName, connectTimeoutMs } = this.#options
    const onOpen = () => this.#onOpen?.()
    this.#sessions.push(new CheckSession({ url: this.#url, applicationName, connectTimeoutMs, onOpen }))
  }

  /** The end of the wait for an answer: `patienceMs` from now, and again from the moment at which a session opens. */
  #deadline(): { passed: Promise<undefined>; cancel: () => void } {
    const { patienceMs } = this.#times
    let timer: NodeJS.Timeout | undefined
    const passed = new Promise<undefined>(resolve => {
      const begin = () => {
        clearTimeout(timer)
        timer = setTimeout(() => resolve(undefined), patienceMs)
      }
      this.#onOpen = begin
      begin()
    })
    const cancel = () => {
      clearTimeout(timer)
      this.#onOpen = undefined
    }
    return { passed, cancel }
  }

  #statement(): string {
    const nowMs = performance.now()
    if (!this.#options.isMigrated()) return STATE
    if (this.#difference === null && nowMs - this.#comparedMs < SCHEMA_INTERVAL_MS) return STATE
    return `${STATE}, ${SCHEMA_DIFFERENCE} as difference`
  }

  /** No answer in time. The connection is kept: its answer may come later. */
  #missed(): CheckResult {
    if (this.#sessions.some(({ isOpen }) => isOpen)) {
      const { patienceMs } = this.#times
      this.#times.missed()
      return this.#late(`no answer within ${Math.round(patienceMs)} ms`)
    }
    return this.#failure === undefined ? { state: 'connecting' } : this.#failed(this.#failure)
  }

  #failed(err: unknown): CheckResult {
    this.#times.reset()
    return { state: failureOf(err), cause: err }
  }

  #late(message: string, latencyMs?: number): CheckResult {
    const cause = new DatabaseStateError(message)
    return { state: 'database_timeout', cause, ...(latencyMs !== undefined && { latencyMs }) }
  }

  /** The connection that has answered stays, others are closed. */
  #judge({ session, row, timeMs: latencyMs }: Answer<Row> & { row: Row; timeMs: number }): CheckResult {
    for (const other of this.#sessions) if (other !== session) other.close()
    this.#sessions = [session]
    this.#failure = undefined
    if (row.difference !== undefined) {
      this.#difference = row.difference
      this.#comparedMs = performance.now()
    }
    const isLate = this.#times.answered(latencyMs)
    const found = this.#found(row)
    if (found?.state === 'database_read_only' && session.ageMs > READ_ONLY_MS) this.#drop(session)
    if (isLate) return this.#late(`answers take longer than ${this.#options.deadlineMs} ms`, latencyMs)
    return found ? { ...found, latencyMs } : { state: 'ok', latencyMs }
  }

  /** What the answer says, in the order of `DATABASE_FAILURES`. */
  #found(row: Row): { state: DatabaseFailure; cause: DatabaseStateError } | undefined {
    const because = (state: DatabaseFailure, message: string) => ({ state, cause: new DatabaseStateError(message) })
    if (this.#difference !== null) return because('schema_incompatible', this.#difference)
    if (row.is_standby) return because('database_read_only', 'the server is a standby')
    if (row.is_read_only) return because('database_read_only', 'transactions are read-only by default')
    return row.has_files ? undefined : because('database_failing', 'the files of the database are not there')
  }

  #drop(session: CheckSession<Row>): void {
    session.close()
    this.#sessions = this.#sessions.filter(one => one !== session)
  }
}
