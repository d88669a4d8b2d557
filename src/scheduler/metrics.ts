import type { Metrics, Reading } from '../metrics/metrics.ts'
import type { Job } from './job.ts'
import type { RunEndEvent } from './run.ts'
import type { SchedulerHealth } from './status.ts'

const OUTCOMES = ['succeeded', 'partial', 'failed', 'abandoned', 'skipped'] as const

/** Creates the series of every job with the value 0, so that they exist before the first run. */
export function createRunSeries(metrics: Metrics, jobs: readonly Job[]): void {
  for (const { id: job_id } of jobs) {
    for (const outcome of OUTCOMES) metrics.count('trading_health_job_runs_total', { job_id, outcome }, 0)
    metrics.count('trading_health_job_lease_losses_total', { job_id }, 0)
  }
}

/**
 * Records the end of a run. A lost run counts as a lost lease: the replica that abandoned it counts the run. A run that its
 * own runner abandoned counts as both.
 */
export function recordRunEnd(
  metrics: Metrics,
  { jobId: job_id, outcome, durationMs, startDelayMs }: RunEndEvent
): void {
  const isOwn = durationMs !== undefined
  if (outcome === 'lost' || (outcome === 'abandoned' && isOwn)) {
    metrics.count('trading_health_job_lease_losses_total', { job_id })
  }
  if (outcome !== 'lost') metrics.count('trading_health_job_runs_total', { job_id, outcome })
  if (durationMs !== undefined)
    metrics.observe('trading_health_job_run_duration_seconds', { job_id }, durationMs / 1_000)
  if (startDelayMs !== undefined) {
    metrics.observe('trading_health_job_start_delay_seconds', { job_id }, startDelayMs / 1_000)
  }
}

/** Reports the state of the scheduler and of its jobs. */
export function reportScheduler(reading: Reading, jobs: readonly Job[], health: SchedulerHealth): void {
  const { running, overdue, runners } = health
  if (running !== null) reading.set('trading_health_scheduler_running', {}, Number(running))
  if (runners !== null) reading.set('trading_health_job_runners', {}, runners)
  for (const { id: job_id } of jobs)
    reading.set('trading_health_job_overdue', { job_id }, Number(overdue.includes(job_id)))
}
