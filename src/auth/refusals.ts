import { MINUTE } from '../async/durations.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import { networkOf } from '../client-address.ts'
import { FailureLog } from '../log/failure-log.ts'
import type { Log } from '../log/log.ts'
import type { AuditEntry, AuditLog } from './audit-log.ts'

/** A request that was rejected before its action began. */
export interface Refusal {
  /** The code of the answer, such as `FORBIDDEN`, and its status. */
  code: string
  status: number
  /** Undefined without a session and a valid token. */
  actor: string | undefined
  address: string
  /** Method and pattern of the route. */
  action: string
  requestId: string
}

interface RefusalsOptions {
  audit: Pick<AuditLog, 'recordAll'>
  log: Log
  /** Default `backgroundTimers` */
  timers?: Timers
}

/** How long equal refusals are counted before their row is written, in milliseconds. */
const WINDOW_MS = MINUTE
/** Different refusals in memory: with a user, and without. Further ones are counted together. */
const MAX_PENDING = 100
/** Rows that may be written at once; one more each minute. So a replica writes at most 1,440 a day for long. */
const MAX_ROWS = 60

/** The action of all requests without a session or a valid token, and of refusals that are counted together. */
const UNAUTHENTICATED = 'unauthenticated'
const OTHERS = 'other_refusals'

interface Pending {
  refusal: Refusal
  /** Null after several addresses without a common network. */
  address: string | null
  attempts: number
  firstMs: number
  lastMs: number
}

/**
 * Records rejected requests in the audit log: one row for all of one user, or network, with one code and action in a
 * minute. A request costs no query. Memory and rows are bounded, so that a client cannot fill the table: what exceeds
 * the bounds is counted together. While the database cannot be used, they wait in memory.
 */
export class Refusals {
  readonly #audit: RefusalsOptions['audit']
  readonly #log: Log
  readonly #timers: Timers
  readonly #failures = new FailureLog({
    failedMessage: 'refusals not audited',
    recoveredMessage: 'refusals audited again'
  })
  /** By what is counted together. */
  #pending = new Map<string, Pending>()
  #rows = MAX_ROWS
  #refilledMs: number
  #cancel: (() => void) | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor({ audit, log, timers = backgroundTimers }: RefusalsOptions) {
    this.#audit = audit
    this.#log = log
    this.#timers = timers
    this.#refilledMs = timers.now()
  }

  /** Counts a refusal. It is in the audit log within a minute, or after `flush`. Never throws. */
  record(refusal: Refusal): void {
    const isUnknown = refusal.actor === undefined && [401, 429].includes(refusal.status)
    const counted = isUnknown ? { ...refusal, action: UNAUTHENTICATED } : refusal
    const now = Date.now()
    this.#add({ refusal: counted, address: counted.address, attempts: 1, firstMs: now, lastMs: now })
    this.#cancel ??= this.#timers.after(WINDOW_MS, () => void this.flush())
  }

  /** Writes what is pending, as far as the bound on rows allows. Never rejects. Idempotent. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write(this.#takeRows()))
    return this.#writing
  }

  /** Writes all that is pending. A failure is logged. Call it once, while the database is still open. */
  async close(): Promise<void> {
    await this.#writing
    await this.#write(MAX_PENDING * 3)
    this.#cancel?.()
    this.#cancel = undefined
  }

  #add(pending: Pending): void {
    const { actor, code, action, address } = pending.refusal
    const key = [code, action, actor === undefined ? networkOf(address) : `user ${actor}`].join(' ')
    const known = this.#pending.get(key)
    const alike = [...this.#pending.values()].filter(one => (one.refusal.actor === undefined) === (actor === undefined))
    if (known) merge(known, pending, false)
    else if (alike.length < MAX_PENDING) this.#pending.set(key, pending)
    else this.#addOther(pending)
  }

  #addOther(pending: Pending): void {
    const key = `${OTHERS} ${pending.refusal.code}`
    const others = this.#pending.get(key)
    const refusal = { ...pending.refusal, actor: undefined, action: OTHERS }
    if (others) merge(others, pending, true)
    else this.#pending.set(key, { ...pending, refusal, address: null })
  }

  #takeRows(): number {
    const now = this.#timers.now()
    const minutes = Math.floor((now - this.#refilledMs) / MINUTE)
    this.#rows = Math.min(MAX_ROWS, this.#rows + minutes)
    this.#refilledMs += minutes * MINUTE
    return this.#rows
  }

  /** Users first: their names matter more than the addresses of a flood. */
  async #write(rows: number): Promise<void> {
    const urgency = ({ refusal, attempts }: Pending) => attempts + (refusal.actor === undefined ? 0 : 1e9)
    const entries = [...this.#pending].sort(([, a], [, b]) => urgency(b) - urgency(a)).slice(0, rows)
    this.#cancel?.()
    this.#cancel = undefined
    for (const [key] of entries) this.#pending.delete(key)
    if (entries.length > 0) {
      try {
        await this.#audit.recordAll(entries.map(([, pending]) => rowOf(pending)))
        this.#rows = Math.max(0, this.#rows - entries.length)
        this.#failures.succeeded(this.#log)
      } catch (err) {
        this.#failures.failed(this.#log, { err })
        this.#putBack(entries)
      }
    }
    if (this.#pending.size > 0) this.#cancel ??= this.#timers.after(WINDOW_MS, () => void this.flush())
  }

  #putBack(entries: [key: string, pending: Pending][]): void {
    for (const [key, pending] of entries) {
      const newer = this.#pending.get(key)
      if (newer) merge(newer, pending, false)
      else if (pending.refusal.action === OTHERS) this.#pending.set(key, pending)
      else this.#add(pending)
    }
  }
}

function merge(known: Pending, { refusal, address, attempts, firstMs, lastMs }: Pending, otherNetwork: boolean): void {
  known.attempts += attempts
  known.firstMs = Math.min(known.firstMs, firstMs)
  known.lastMs = Math.max(known.lastMs, lastMs)
  if (known.address === null || known.address === address) return
  const network = networkOf(refusal.address)
  known.address = !otherNetwork && networkOf(known.refusal.address) === network ? network : null
}

function rowOf({ refusal, address, attempts, firstMs, lastMs }: Pending): AuditEntry {
  const { code, status, actor, action, requestId } = refusal
  const details = { code, status, attempts, first_at: iso(firstMs), last_at: iso(lastMs) }
  return { actor, address: address ?? undefined, action, outcome: 'refused', requestId, details }
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
