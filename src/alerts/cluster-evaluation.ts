// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Message } from '../notifications/outbox.ts'
import { takeUncleanEnds } from '../replicas/replica-table.ts'
import { dueTimes } from '../scheduler/due-times.ts'
import { missedFires, runEnds } from '../scheduler/run-ends.ts'
import { loadAlerts, saveConditions, saveProgress } from './alert-store.ts'
import { AlertBook, type AlertRules, type Notice } from './alerts.ts'
import {
  isOfRuns,
  jobKey,
  observeCluster,
  observeDueTimes,
  observeRunEnds,
  readClusterState,
  type WatchedJob
} from './cluster-observations.ts'
import { noticeMessage, type Recipient, restartMessage } from './notice-message.ts'

export interface ClusterEvaluationOptions extends Recipient {
  jobs: readonly WatchedJob[]
  /** Jobs that are overdue, as this replica sees them. */
  overdue: () => readonly string[]
  rules?: AlertRules
}

/** The evaluating replica. Times are in milliseconds since the epoch. */
export interface Evaluator {
  now: () => number
  startedAtMs: number
  /** Whether missing heartbeats mean anything: the database was reachable for long enough for every replica to send one. */
  canMissReplicas: boolean
}

/**
 * Evaluates the alerts of the whole cluster and stores their conditions. Call it under the advisory lock of alerts.
 * @returns the messages that are due
 */
export async function evaluateCluster(
  tx: TransactionSql,
  options: ClusterEvaluationOptions,
  { now, startedAtMs, canMissReplicas }: Evaluator
): Promise<Message[]> {
  const { jobs, rules } = options
  const stored = await loadAlerts(
    tx,
    jobs.map(({ id }) => id)
  )
  const [cluster, ends] = await Promise.all([readClusterState(tx), runEnds(tx, stored.processed)])
  const book = new AlertBook({ conditions: stored.conditions, now, ...(rules && { rules }) })
  const notices = book.observe(...observeRunEnds(ends, jobs, now()))

  const upSinceMs = cluster.startedAt?.getTime() ?? startedAtMs
  const dues = await dueTimes(tx, lateJobs(options, book, upSinceMs, now()))
  const silent = canMissReplicas ? cluster.silent : []
  const failing = [...observeDueTimes(dues, jobs), ...observeCluster({ ...cluster, silent })]
  const failingKeys = new Set(failing.map(({ key }) => key))
  const recovered = Object.keys(stored.conditions)
    .filter(key => !failingKeys.has(key) && !isOfRuns(key))
    .map(key => ({ key, failing: false as const }))
  notices.push(...book.observe(...failing, ...recovered), ...book.tick())

  const conditions = book.snapshot()
  const hasConditions = Object.keys({ ...conditions, ...stored.conditions }).length > 0
  if (hasConditions) await saveConditions(tx, conditions)
  if (ends.length > 0) await saveProgress(tx, ends)
  const messages = notices
    .filter(notice => !isExpected(notice, cluster.stop !== undefined))
    .map(notice => noticeMessage(notice, options))
  return [...messages, ...(canMissReplicas ? await restartMessages(tx, options) : [])]
}

/**
 * Whether an admin expects what a notice reports: a stop with an end is not reported before that. Its recovery is, once the
 * scheduler runs; a stop that replaces another one ends nothing.
 */
function isExpected({ type, details }: Notice, isStopped: boolean): boolean {
  if (details.kind !== 'scheduler_stopped') return false
  return type === 'recovery' ? isStopped : details.until !== null
}

/**
 * The overdue jobs that could have run: the cluster has been up for the time until the next run and the longest run. A
 * job whose last run failed has an alert already.
 */
function lateJobs(
  { jobs, overdue }: ClusterEvaluationOptions,
  book: AlertBook,
  upSinceMs: number,
  nowMs: number
): string[] {
  const overdueIds = new Set(overdue())
  const conditions = book.snapshot()
  return jobs
    .filter(({ id, trigger, maxRunMs }) => overdueIds.has(id) && nowMs > trigger.next(upSinceMs) + maxRunMs)
    .map(({ id }) => id)
    .filter(id => conditions[jobKey(id)]?.trouble?.failing !== true)
}

/** A message about the replicas that stopped without a shutdown and the runs that were missed, if there are any. */
async function restartMessages(tx: TransactionSql, options: ClusterEvaluationOptions): Promise<Message[]> {
  const { jobs } = options
  const ends = await takeUncleanEnds(tx)
  const [first] = ends
  const last = ends.at(-1)
  if (!first || !last) return []
  const missed = await missedFires(tx, first.lastSeenAt)
  const restart = {
    instance: ends.map(({ instanceId }) => instanceId).join(', '),
    startedAt: last.restartedAt.getTime(),
    lastSeenAt: last.lastSeenAt.getTime(),
    missed: missed.map(({ jobId, count }) => {
      return { jobId, jobName: jobs.find(({ id }) => id === jobId)?.name ?? jobId, count }
    })
  }
  return [restartMessage(restart, options)]
}
