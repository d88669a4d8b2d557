// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { ProcessedEnd, RunEnd } from '../scheduler/run-ends.ts'
import type { Conditions } from './alerts.ts'

/** What the replicas remember in the database between two evaluations. */
export interface StoredAlerts {
  conditions: Conditions
  /** The last processed end of a run, one for each of the jobs. */
  processed: ProcessedEnd[]
}

/** Reads the conditions of all alerts and the progress of the jobs. */
export async function loadAlerts(tx: TransactionSql, jobIds: readonly string[]): Promise<StoredAlerts> {
  // Statements without parameters: sent together, they cost one network round trip.
  const [conditions, progress] = await Promise.all([
    tx<{ key: string; condition: Conditions[string] }[]>`select key, condition from alerts`,
    tx<{ job_id: string; seq: string }[]>`select job_id, seq from alert_progress`
  ])
  const seqs = new Map(progress.map(({ job_id, seq }) => [job_id, seq]))
  return {
    conditions: Object.fromEntries(conditions.map(({ key, condition }) => [key, condition])),
    processed: jobIds.map(jobId => ({ jobId, seq: seqs.get(jobId) ?? null }))
  }
}

/** Replaces the stored conditions. Idempotent. */
export async function saveConditions(tx: TransactionSql, conditions: Conditions): Promise<void> {
  const rows = Object.entries(conditions).map(([key, condition]) => ({ key, condition }))
  await tx`
    with kept as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as kept (key text, condition jsonb)
    ), gone as (
      delete from alerts where not exists (select from kept where kept.key = alerts.key)
    )
    insert into alerts (key, condition) select key, condition from kept
    on conflict (key) do update set condition = excluded.condition, updated_at = now()`
}

/** Records that these ends of runs, in the order of `seq`, are processed. Idempotent. */
export async function saveProgress(tx: TransactionSql, ends: readonly RunEnd[]): Promise<void> {
  const rows = [...new Map(ends.map(({ jobId, seq }) => [jobId, seq]))].map(([job_id, seq]) => ({ job_id, seq }))
  await tx`
    insert into alert_progress (job_id, seq)
    select job_id, seq from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as ended (job_id text, seq bigint)
    on conflict (job_id) do update set seq = excluded.seq`
}
