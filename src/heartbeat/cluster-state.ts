// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'
import { hasUndelivered, type Recipients } from '../notifications/outbox.ts'
import type { SchedulerHealth } from '../scheduler/status.ts'
import { differenceCounts } from '../trading/book-state.ts'

/**
 * Why the cluster is not healthy, the first that holds:
 * - `scheduler_stopped`: an admin stopped the scheduler, until a time or not
 * - `no_runner`: no living replica may run scheduled jobs
 * - `scheduler_wedged`: the scheduler of the replica that reports has not polled the database for 10 s
 * - `jobs_overdue`: a job is overdue
 * - `messages_undelivered`: a message has waited for five minutes, or was given up within the last hour. Chats of users that
 *   do not accept messages do not count, nor does a webhook that is not configured
 * - `books_unexplained`: the books differ from an exchange, and nothing explains it
 */
export type UnhealthyReason =
  | 'scheduler_stopped'
  | 'no_runner'
  | 'scheduler_wedged'
  | 'jobs_overdue'
  | 'messages_undelivered'
  | 'books_unexplained'

/**
 * Why the cluster is not healthy; null while it is.
 * @param health the scheduler as this replica knows it
 * @throws {DatabaseUnavailableError}
 */
export async function unhealthyReason(
  database: Database,
  health: SchedulerHealth,
  recipients: Recipients
): Promise<UnhealthyReason | null> {
  if (health.running === false) return 'scheduler_stopped'
  if (health.runners === 0) return 'no_runner'
  if (health.wedged) return 'scheduler_wedged'
  if (health.overdue.length > 0) return 'jobs_overdue'
  if (await hasUndelivered(database, recipients)) return 'messages_undelivered'
  const { unexplained } = await database.run(differenceCounts)
  return unexplained > 0 ? 'books_unexplained' : null
}
