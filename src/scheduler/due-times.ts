// @FEAT:scheduler @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'

/** Since when a job is due. */
export interface DueTime {
  jobId: string
  dueAt: Date
}

/**
 * Since when each of the jobs is due: the end of its last run that succeeded or was partial, or its first due time, the
 * later one; now where it has neither.
 */
export async function dueTimes(tx: TransactionSql, jobIds: readonly string[]): Promise<DueTime[]> {
  if (jobIds.length === 0) return []
  const rows = await tx<{ job_id: string; due_at: Date }[]>`
    select job_id, coalesce(greatest(first_due_at, last_success_at, last_partial_at), now()) as due_at from scheduled_jobs
    where job_id in (select jsonb_array_elements_text(${JSON.stringify(jobIds)}::text::jsonb))`
  return rows.map(({ job_id, due_at }) => ({ jobId: job_id, dueAt: due_at }))
}
