/** Transactions that end at a chosen statement, as by the end of the process or of the connection. */
import type { TransactionSql } from '../../src/database/client.ts'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { type JobContext, LeaseLostError } from '../../src/scheduler/job.ts'

/**
 * `torn`: the process ends; `severed`: the server ends the connection; `lease_lost`: another runner has the lease;
 * `unacknowledged`: the commit succeeds, but its answer is lost. The last two do not depend on a statement.
 */
export const INTERRUPTIONS = ['torn', 'severed', 'lease_lost', 'unacknowledged'] as const
export type Interruption = (typeof INTERRUPTIONS)[number]

/** The end of the process, as an error of the transaction in it. */
class ProcessEnded extends Error {}

/** Whether an error is that of an interruption. */
export function isInterruption(err: unknown): boolean {
  return err instanceof ProcessEnded || err instanceof LeaseLostError || err instanceof DatabaseUnavailableError
}

export interface InterruptedTransactions {
  transaction: JobContext['transaction']
  /** Aborted when the process has ended: the run must not continue. */
  signal: AbortSignal
  /** Statements of the interrupted transaction that were sent. The commit counts as one. */
  statements(): number
}

/**
 * Interrupts one transaction before one of its statements is executed. The others are not affected.
 *
 * @param before the number of the statement, from 1. The one after the last is the commit. Greater ones interrupt nothing.
 * @param which the number of the transaction, from 1
 */
export function interruptedTransactions(
  database: Database,
  kind: Interruption,
  before: number,
  which = 1
): InterruptedTransactions {
  const process = new AbortController()
  let transactions = 0
  let statements = 0
  const interrupt = async (tx: TransactionSql): Promise<void> => {
    if (++statements !== before) return
    if (kind === 'torn') process.abort(new ProcessEnded())
    process.signal.throwIfAborted()
    // The statement that follows meets the end of the connection.
    if (kind === 'severed') await tx.unsafe('select pg_terminate_backend(pg_backend_pid())').catch(() => undefined)
  }
  const transaction: JobContext['transaction'] = async (work, options) => {
    process.signal.throwIfAborted()
    if (++transactions !== which) return await database.transaction(work, options)
    if (kind === 'lease_lost') throw new LeaseLostError()
    const result = await database.transaction(async tx => {
      const result = await work(interceptedBy(tx, () => interrupt(tx)))
      await interrupt(tx)
      return result
    }, options)
    if (kind === 'unacknowledged') throw new DatabaseUnavailableError('database_unreachable')
    return result
  }
  return { transaction, signal: process.signal, statements: () => statements }
}

/** A transaction whose statements, but not their fragments, wait for `intercept`. */
function interceptedBy(tx: TransactionSql, intercept: () => Promise<void>): TransactionSql {
  return new Proxy(tx, {
    apply(target, self, args) {
      const query = Reflect.apply(target, self, args)
      const { then } = query
      if (typeof then !== 'function' || !Array.isArray(args[0]) || !('raw' in args[0])) return query
      let intercepted: Promise<void> | undefined
      // A statement is executed when it is awaited. A fragment never is.
      const waiting = (onResult: unknown, onError: unknown) => {
        intercepted ??= intercept()
        return intercepted
          .then(() => new Promise((resolve, reject) => then.call(query, resolve, reject)))
          .then(onResult as never, onError as never)
      }
      return Object.defineProperty(query, 'then', { value: waiting })
    }
  })
}
