// @FEAT:scheduler @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'

/** The longest time after which a stop ends by itself, in minutes. */
export const MAX_STOP_MINUTES = 7 * 24 * 60

/** Who stopped the scheduler, when, why and until when; null where that was not given. */
export interface SchedulerStop {
  by: string | null
  at: Date
  reason: string | null
  until: Date | null
}

/** The stop that is in effect; undefined while the scheduler runs. */
export async function schedulerStop(tx: TransactionSql): Promise<SchedulerStop | undefined> {
  const [stop] = await tx<SchedulerStop[]>`
    select changed_by as by, changed_at as at, reason, resumes_at as until from scheduler_state
    where not running and (resumes_at is null or resumes_at > now())`
  return stop
}
