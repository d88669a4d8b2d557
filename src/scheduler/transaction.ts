import { SECOND } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/**
 * Longest transaction of the scheduler and of jobs, in milliseconds. It is below the lease, which the runner renews
 * between transactions.
 */
export const TRANSACTION_DEADLINE_MS = 8 * SECOND
/** The server ends a transaction whose client sends nothing for this long: the process may be frozen. */
const IDLE_LIMIT_MS = 5 * SECOND

/** Statements that run in the same transaction as a change, such as the one that writes the audit row. */
export type InTransaction = (tx: TransactionSql) => Promise<unknown>

/**
 * Runs a transaction that holds its locks for some seconds at most, even when this process is frozen in it. `work` may
 * be called again, as `Database.transaction` says.
 * @param options.deadlineMs at most `TRANSACTION_DEADLINE_MS`, which is the default
 * @param options.kind as in `CallOptions`. Default: the text of `work`
 * @throws {DatabaseUnavailableError}
 */
export function limitedTransaction<T>(
  database: Database,
  work: (tx: TransactionSql) => Promise<T>,
  { deadlineMs = TRANSACTION_DEADLINE_MS, kind = String(work) }: { deadlineMs?: number; kind?: string } = {}
): Promise<T> {
  return database.transaction(
    async tx => {
      const limit = tx.unsafe(`set local idle_in_transaction_session_timeout = ${IDLE_LIMIT_MS}`).execute()
      const [, result] = await Promise.all([limit, work(tx)])
      return result
    },
    { deadlineMs: Math.min(deadlineMs, TRANSACTION_DEADLINE_MS), kind }
  )
}
