// @FEAT:health-monitoring @COMP:service @TYPE:core
import { type FailingAccounts, failingAccounts } from '../accounts/account-failures.ts'
import { type RefusedAccount, refusedAccounts } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { type ReplicasState, replicasState } from '../replicas/replica-table.ts'
import type { DueTime } from '../scheduler/due-times.ts'
import { type Job, undoneOf } from '../scheduler/job.ts'
import { MAX_PARTIAL_IN_ROW, type RunEnd } from '../scheduler/run-ends.ts'
import { type SchedulerStop, schedulerStop } from '../scheduler/scheduler-stop.ts'
import { type UnexplainedDifferences, unexplainedDifferences } from '../trading/book-state.ts'
import { type FlaggedOrders, flaggedOrders } from '../trading/flagged-orders.ts'
import type { AlertDetails, Observation } from './alerts.ts'

/** What alerts need to know of a job. */
export type WatchedJob = Pick<Job, 'id' | 'name' | 'trigger' | 'maxRunMs' | 'undone'>

/** What the database says about the whole cluster, except for the runs of jobs. */
export interface ClusterState extends ReplicasState {
  stop: SchedulerStop | undefined
  refused: RefusedAccount[]
  failing: FailingAccounts[]
  flagged: FlaggedOrders | undefined
  unexplained: UnexplainedDifferences | undefined
}

/** Reads the state of the cluster. */
export async function readClusterState(tx: TransactionSql): Promise<ClusterState> {
  const [replicas, stop, refused, failing, flagged, unexplained] = await Promise.all([
    replicasState(tx),
    schedulerStop(tx),
    refusedAccounts(tx),
    failingAccounts(tx),
    flaggedOrders(tx),
    unexplainedDifferences(tx)
  ])
  return { ...replicas, stop, refused, failing, flagged, unexplained }
}

/**
 * The ends of runs as observations. A run that succeeded or was partial did not fail. Three partial runs in a row are a
 * condition of their own, which a success ends. A run that ended because its replica shut down is no observation: the next
 * run continues its work.
 * @param nowMs in milliseconds since the epoch; no observation is later
 */
export function observeRunEnds(ends: readonly RunEnd[], jobs: readonly WatchedJob[], nowMs: number): Observation[] {
  const names = namesOf(jobs)
  return ends.flatMap(({ jobId, runId, outcome, instance, errorCode, result, finishedAt, partialInRow }) => {
    const job = { jobId, jobName: names.get(jobId) ?? jobId, runId }
    const at = Math.min(finishedAt.getTime(), nowMs)
    const end = { key: jobKey(jobId), at }
    const partial = { key: `${PARTIAL}${jobId}`, at }
    if (outcome === 'succeeded') return [end, partial].map((one): Observation => ({ ...one, failing: false }))
    if (outcome === 'partial') {
      const ended: Observation = { ...end, failing: false }
      if (partialInRow < MAX_PARTIAL_IN_ROW) return [ended]
      const undone = undoneOf(jobs.find(({ id }) => id === jobId) ?? { undone: [] }, result ?? {})
      const details: AlertDetails = { kind: 'job_partial', ...job, undone }
      return [ended, { ...partial, failing: true, details, episode: runId }]
    }
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
export function observeCluster(state: ClusterState): Observation[] {
  const { stop, refused, failing, flagged, unexplained, silent, lacksRunner } = state
  return [
    ...(stop ? [stopObservation(stop)] : []),
    ...(lacksRunner ? [{ key: 'no_runner', failing: true, details: { kind: 'no_runner' } } as const] : []),
    ...refused.map(({ accountId, name, exchange }): Observation => {
      const details = { kind: 'credentials_refused' as const, exchange, account: name }
      return { key: `credentials_refused:${accountId}`, failing: true, details }
    }),
    ...failing.map(failingObservation),
    ...(flagged ? [flaggedObservation(flagged)] : []),
    ...(unexplained ? [unexplainedObservation(unexplained)] : []),
    ...silent.map(({ instanceId: instance, lastSeenAt }): Observation => {
      const since = lastSeenAt.getTime()
      const details = { kind: 'replica_silent' as const, instance, lastSeenAt: since }
      return { key: `replica_silent:${instance}`, failing: true, details, since, episode: String(since) }
    })
  ]
}

const ENDED = 'job:'
const PARTIAL = 'job_partial:'

/** The key of the condition that a job fails. */
export function jobKey(jobId: string): string {
  return `${ENDED}${jobId}`
}

/** Whether only the end of a run changes the condition of this key. */
export function isOfRuns(key: string): boolean {
  return key.startsWith(ENDED) || key.startsWith(PARTIAL)
}

/** A stop with an end and one without are two conditions: only the latter is an alert. */
function stopObservation({ by, at, reason, until }: SchedulerStop): Observation {
  const details = { kind: 'scheduler_stopped' as const, by: by ?? '', reason, until: until?.getTime() ?? null }
  const since = at.getTime()
  const key = until === null ? 'scheduler_stopped' : 'scheduler_stopped:until'
  return { key, failing: true, details, since, episode: String(since) }
}

/** All accounts of an exchange are one condition: an exchange that is down is one message. */
function failingObservation({ exchange, count, names, codes, since, newestSince }: FailingAccounts): Observation {
  const details = { kind: 'accounts_failed' as const, exchange, count, accounts: names, codes }
  const joinedAt = newestSince.getTime()
  return { key: `accounts_failed:${exchange}`, failing: true, details, since: since.getTime(), joinedAt }
}

function flaggedObservation({ count, orders, since, newestAt }: FlaggedOrders): Observation {
  const details = { kind: 'orders_flagged' as const, count, orders }
  return { key: 'orders_flagged', failing: true, details, since: since.getTime(), joinedAt: newestAt.getTime() }
}

function unexplainedObservation({ count, differences, since, newestAt }: UnexplainedDifferences): Observation {
  const details = { kind: 'books_unexplained' as const, count, differences }
  return { key: 'books_unexplained', failing: true, details, since: since.getTime(), joinedAt: newestAt.getTime() }
}

function namesOf(jobs: readonly WatchedJob[]): Map<string, string> {
  return new Map(jobs.map(({ id, name }) => [id, name]))
}
