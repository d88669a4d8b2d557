import { type DatabaseFailure, failureOf } from './failure.ts'

/** So many failures in a row of one kind of call mean that the database fails for this replica. */
const FAILURES = 3
/**
 * A kind of call that has failed and is not repeated counts no longer after this multiple of the time between its
 * failures, within these bounds in milliseconds. Without it, a replica that gets no more requests would fail for ever.
 */
const HOLD = { factor: 1.5, minMs: 2_000, maxMs: 45_000 }

interface Failing {
  /** What the last failure means. */
  failure: DatabaseFailure
  count: number
  firstMs: number
  lastMs: number
}

/** The calls began to fail, with the last error; or they no longer fail, with the time that took. In milliseconds. */
export type StatementChange = { failing: true; err: unknown } | { failing: false; failures: number; lastedMs: number }

/**
 * Counts the failures of each kind of call, and decides whether the database fails for this replica. A success ends the
 * count of its own kind only: one that reads a healthy table does not hide another that fails for ever. The success of
 * another kind ends the count of one that has not been called again for a while, or that failed for the same reason as
 * that other kind did until now.
 */
export class StatementHealth {
  readonly #onChange: (change: StatementChange) => void
  readonly #nowMs: () => number
  readonly #counts = new Map<string, Failing>()
  /** Calls that began while some kind failed, by kind: a call that waits long is not one that is not repeated. */
  readonly #running = new Map<string, number>()
  #since: { ms: number; failures: number } | undefined

  /** @param nowMs a clock that never goes back, in milliseconds */
  constructor(onChange: (change: StatementChange) => void, nowMs: () => number = () => performance.now()) {
    this.#onChange = onChange
    this.#nowMs = nowMs
  }

  /** Whether no kind of call fails: then there is nothing that a success could end. */
  get isClear(): boolean {
    return this.#counts.size === 0
  }

  /** Records that a call of this kind began. To be called while `isClear` is false. @returns records that it ended */
  began(kind: string): () => void {
    this.#running.set(kind, (this.#running.get(kind) ?? 0) + 1)
    return () => {
      const left = (this.#running.get(kind) ?? 1) - 1
      if (left > 0) this.#running.set(kind, left)
      else this.#running.delete(kind)
    }
  }

  /** Records that a call of this kind failed for a reason of the server. */
  failed(kind: string, err: unknown): void {
    const nowMs = this.#nowMs()
    const { count = 0, firstMs = nowMs } = this.#counts.get(kind) ?? {}
    this.#counts.set(kind, { failure: failureOf(err), count: count + 1, firstMs, lastMs: nowMs })
    if (this.#since) this.#since.failures++
    else if (count + 1 >= FAILURES) {
      this.#since = { ms: firstMs, failures: count + 1 }
      this.#onChange({ failing: true, err })
    }
  }

  /** Records that a call of this kind failed for a reason that does not count: it is repeated, and does not succeed. */
  repeated(kind: string): void {
    const failing = this.#counts.get(kind)
    if (failing) failing.lastMs = this.#nowMs()
  }

  /** Records that a call of this kind succeeded. */
  succeeded(kind: string): void {
    if (this.#counts.size === 0) return
    const nowMs = this.#nowMs()
    const ended = this.#counts.get(kind)
    this.#counts.delete(kind)
    for (const [other, failing] of this.#counts) {
      const isSameReason = ended !== undefined && ended.count >= FAILURES && ended.failure === failing.failure
      const isOver = nowMs - failing.lastMs > holdMs(failing) && !this.#running.has(other)
      if (isSameReason || isOver) this.#counts.delete(other)
    }
    if (!this.#since || [...this.#counts.values()].some(({ count }) => count >= FAILURES)) return
    const { ms, failures } = this.#since
    this.#since = undefined
    this.#onChange({ failing: false, failures, lastedMs: Math.round(nowMs - ms) })
  }
}

function holdMs({ count, firstMs, lastMs }: Failing): number {
  // One or two failures alone have no effect: they may wait long for the next.
  if (count < FAILURES) return Number.POSITIVE_INFINITY
  return Math.min(HOLD.maxMs, Math.max(HOLD.minMs, ((lastMs - firstMs) / (count - 1)) * HOLD.factor))
}
