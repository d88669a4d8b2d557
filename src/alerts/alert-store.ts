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
  // One statement without parameters costs one network round trip.
  const rows = await tx<({ key: string; condition: Conditions[string]; seq: null } | StoredProgress)[]>`
    select key, condition, null as seq from alerts
    union all select job_id, null, seq from alert_progress`
  const seqs = new Map(rows.flatMap(({ key, seq }) => (seq === null ? [] : [[key, seq] as const])))
  return {
    conditions: Object.fromEntries(
      rows.flatMap(({ key, condition }) => (condition === null ? [] : [[key, condition] as const]))
    ),
    processed: jobIds.map(jobId => ({ jobId, seq: seqs.get(jobId) ?? null }))
  }
}

/** The progress of a job, as a row of the same statement as the conditions. */
interface StoredProgress {
  key: string
  condition: null
  seq: string
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
