// @FEAT:scheduler @COMP:job @TYPE:core
import { sweepAuditLog, sweepSessions, sweepSignInLimits, sweepSignInNetworks } from '../auth/housekeeping.ts'
import { sweepTokens } from '../auth/token-table.ts'
import { sweepCacheCommands } from '../cache/clear-commands.ts'
import type { TransactionSql } from '../database/client.ts'
import { sweepBans } from '../exchange-bans/ban-table.ts'
import { sweepInvalidRows } from '../exchanges/invalid-row-table.ts'
import { sweepHealthHistory } from '../health/history-store.ts'
import { sweepOutbox } from '../notifications/outbox.ts'
import { sweepQuietWindow } from '../notifications/quiet-window.ts'
import { sweepDeadReplicas } from '../replicas/replica-table.ts'
import { sweepOldRuns, sweepSurplusRuns } from '../scheduler/housekeeping.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { sweepConfirmations } from '../telegram-commands/confirmations.ts'
import { sweepUpdates } from '../telegram-commands/polling-store.ts'
import { sweepReplacedExecutions } from '../trading/replaced-executions.ts'

/** One kind of expired rows: `sweep` deletes at most `limit` of them in the transaction and returns how many. Idempotent. */
export interface HousekeepingTask {
  /** The name of its count in the run's result. */
  readonly name: string
  sweep(tx: TransactionSql, limit: number): Promise<number>
}

const BATCH_ROWS = 1_000
const BATCHES_PER_TASK = 20

/** The tasks, in the order in which they run. */
const housekeepingTasks: readonly HousekeepingTask[] = [
  { name: 'telegram_updates', sweep: sweepUpdates },
  { name: 'telegram_confirmations', sweep: sweepConfirmations },
  { name: 'old_runs', sweep: sweepOldRuns },
  { name: 'surplus_runs', sweep: sweepSurplusRuns },
  { name: 'health_history', sweep: sweepHealthHistory },
  { name: 'dead_replicas', sweep: sweepDeadReplicas },
  { name: 'ended_bans', sweep: sweepBans },
  { name: 'invalid_rows', sweep: sweepInvalidRows },
  { name: 'ended_sessions', sweep: sweepSessions },
  { name: 'sign_in_limits', sweep: sweepSignInLimits },
  { name: 'sign_in_networks', sweep: sweepSignInNetworks },
  { name: 'ended_tokens', sweep: sweepTokens },
  { name: 'old_audit_rows', sweep: sweepAuditLog },
  { name: 'cache_commands', sweep: sweepCacheCommands },
  { name: 'replaced_executions', sweep: sweepReplacedExecutions },
  { name: 'quiet_windows', sweep: sweepQuietWindow },
  { name: 'old_messages', sweep: sweepOutbox }
]

/**
 * Deletes expired rows in bounded batches, one transaction each. A task with more rows than a run may delete counts as
 * unfinished, and leaves the rest to the next run. An aborted run stops between two batches.
 */
export function housekeeping(tasks = housekeepingTasks): (context: JobContext) => Promise<JobResult> {
  return async ({ transaction, progress, signal }) => {
    const result: Record<string, number> = {}
    let unfinished = 0
    for (const [i, { name, sweep }] of tasks.entries()) {
      let swept = 0
      let isFinished = false
      for (let batch = 0; batch < BATCHES_PER_TASK && !isFinished; batch++) {
        signal.throwIfAborted()
        const count = await transaction(tx => sweep(tx, BATCH_ROWS))
        swept += count
        isFinished = count < BATCH_ROWS
      }
      result[name] = swept
      if (!isFinished) unfinished++
      progress(i + 1, tasks.length)
    }
    return { ...result, unfinished_tasks: unfinished }
  }
}
