import type { AuditEntry, AuditLog } from './audit-log.ts'

/** Rows of the audit log that are written at the same time: a stranger must not use more connections. */
const MAX_WRITERS = 2

interface Waiting {
  entry: Omit<AuditEntry, 'outcome'>
  attempts: number
  written: Promise<void>
  resolve: () => void
  reject: (err: unknown) => void
}

/**
 * Records throttled attempts. They can arrive faster than the database writes, so the attempts of a slot that arrive while
 * a write for it is under way are written together.
 */
export class ThrottledAttempts {
  readonly #audit: Pick<AuditLog, 'recordThrottled'>
  readonly #waiting = new Map<number, Waiting>()
  /** Slots that are being written. */
  readonly #busy = new Set<number>()

  constructor(audit: Pick<AuditLog, 'recordThrottled'>) {
    this.#audit = audit
  }

  /** Resolves when the attempt is recorded. Not idempotent. @throws {DatabaseUnavailableError} */
  record(slot: number, entry: Omit<AuditEntry, 'outcome'>): Promise<void> {
    const waiting = this.#waiting.get(slot) ?? this.#add(slot, entry)
    waiting.attempts++
    void this.#writeNext()
    return waiting.written
  }

  #add(slot: number, entry: Omit<AuditEntry, 'outcome'>): Waiting {
    let settle: Pick<Waiting, 'resolve' | 'reject'> | undefined
    const written = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject }
    })
    const waiting = {
      entry,
      attempts: 0,
      written,
      resolve: () => settle?.resolve(),
      reject: (err: unknown) => settle?.reject(err)
    }
    this.#waiting.set(slot, waiting)
    return waiting
  }

  async #writeNext(): Promise<void> {
    if (this.#busy.size >= MAX_WRITERS) return
    const [slot, waiting] = [...this.#waiting].find(([slot]) => !this.#busy.has(slot)) ?? []
    if (slot === undefined || waiting === undefined) return
    this.#waiting.delete(slot)
    this.#busy.add(slot)
    try {
      await this.#audit.recordThrottled(slot, waiting.entry, waiting.attempts)
      waiting.resolve()
    } catch (err) {
      waiting.reject(err)
    } finally {
      this.#busy.delete(slot)
    }
    await this.#writeNext()
  }
}
