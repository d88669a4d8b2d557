// @FEAT:health-monitoring @COMP:service @TYPE:core
import { type RefusedAccount, refusedAccounts } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { clusterStartedAt, lacksJobRunner, type SilentReplica, silentReplicas } from '../replicas/replica-table.ts'
import type { DueTime } from '../scheduler/due-times.ts'
import type { Job } from '../scheduler/job.ts'
import type { RunEnd } from '../scheduler/run-ends.ts'
import { type SchedulerStop, schedulerStop } from '../scheduler/scheduler-stop.ts'
import type { AlertDetails, Observation } from './alerts.ts'

/** What alerts need to know of a job. */
export type WatchedJob = Pick<Job, 'id' | 'name' | 'trigger' | 'maxRunMs'>

/** What the database says about the whole cluster, except for the runs of jobs. */
export interface ClusterState {
  startedAt: Date | undefined
  stop: SchedulerStop | undefined
  refused: RefusedAccount[]
  silent: SilentReplica[]
  /** Whether none of the living replicas may run scheduled jobs. */
  lacksRunner: boolean
}

/** Reads the state of the cluster. */
export async function readClusterState(tx: TransactionSql): Promise<ClusterState> {
  const [startedAt, stop, refused, silent, lacksRunner] = await Promise.all([
    clusterStartedAt(tx),
    schedulerStop(tx),
    refusedAccounts(tx),
    silentReplicas(tx),
    lacksJobRunner(tx)
  ])
  return { startedAt, stop, refused, silent, lacksRunner }
}

/**
 * The ends of runs as observations. A run that ended because its replica shut down is none: the next run continues its
 * work.
 * @param nowMs in milliseconds since the epoch; no observation is later
 */
export function observeRunEnds(ends: readonly RunEnd[], jobs: readonly WatchedJob[], nowMs: number): Observation[] {
  const names = namesOf(jobs)
  return ends.flatMap(({ jobId, runId, outcome, instance, errorCode, finishedAt }): Observation[] => {
    const job = { jobId, jobName: names.get(jobId) ?? jobId, runId }
    const end = { key: jobKey(jobId), at: Math.min(finishedAt.getTime(), nowMs) }
    if (outcome === 'succeeded' || outcome === 'partial') return [{ ...end, failing: false }]
    if (errorCode === 'SHUTDOWN') return []
    const details: AlertDetails =
      outcome === 'failed'
        ? { kind: 'job_failed', ...job, errorCode: errorCode ?? 'JOB_FAILED' }
        : { kind: 'job_abandoned', ...job, instance }
    return [{ ...end, failing: true, details, episode: runId }]
  })
}

/** Observations of jobs that are overdue. */
export function observeDueTimes(dues: readonly DueTime[], jobs: readonly WatchedJob[]): Observation[] {
  const names = namesOf(jobs)
  return dues.map(({ jobId, dueAt }) => {
    const due = dueAt.getTime()
    const details = { kind: 'job_overdue' as const, jobId, jobName: names.get(jobId) ?? jobId, dueAt: due }
    return { key: `job_overdue:${jobId}`, failing: true, details, episode: String(due) }
  })
}

/** Observations of what fails in the state of the cluster. */
export function observeCluster({ stop, refused, silent, lacksRunner }: ClusterState): Observation[] {
  return [
    ...(stop ? [stopObservation(stop)] : []),
    ...(lacksRunner ? [{ key: 'no_runner', failing: true, details: { kind: 'no_runner' } } as const] : []),
    ...refused.map(({ accountId, name, exchange }): Observation => {
      const details = { kind: 'credentials_refused' as const, exchange, account: name }
      return { key: `credentials_refused:${accountId}`, failing: true, details }
    }),
    ...silent.map(({ instanceId: instance, lastSeenAt }): Observation => {
      const since = lastSeenAt.getTime()
      const details = { kind: 'replica_silent' as const, instance, lastSeenAt: since }
      return { key: `replica_silent:${instance}`, failing: true, details, since, episode: String(since) }
    })
  ]
}

/** The key of the condition of a job. Without a job, the start of all such keys. */
export function jobKey(jobId = ''): string {
  return `job:${jobId}`
}

function stopObservation({ by, at, reason, until }: SchedulerStop): Observation {
  const details = { kind: 'scheduler_stopped' as const, by: by ?? '', reason, until: until?.getTime() ?? null }
  const since = at.getTime()
  return { key: 'scheduler_stopped', failing: true, details, since, episode: String(since) }
}

function namesOf(jobs: readonly WatchedJob[]): Map<string, string> {
  return new Map(jobs.map(({ id, name }) => [id, name]))
}
