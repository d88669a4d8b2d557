// @FEAT:scheduler @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { Job } from './job.ts'
import type { JobTimes } from './job-times.ts'
import { isOverdue } from './overdue.ts'
import type { RunRecord } from './run-history.ts'
import type { JobRecord, StatusRecord } from './store.ts'

/** A scheduler whose last successful poll is older than this is wedged, in milliseconds. */
export const WEDGED_MS = 10 * SECOND

/** The state of one job. */
export interface JobStatus {
  job: Job
  /** Null while the scheduler is stopped or the job paused. */
  nextRunTime: Date | null
  paused: boolean
  pausedBy: string | null
  pausedReason: string | null
  overdue: boolean
  running: RunRecord | null
  lastRun: RunRecord | null
}

/** The state of the scheduler of the cluster and of its jobs. */
export interface SchedulerStatus {
  running: boolean
  /** Who stopped the scheduler, why, and when it starts again by itself; null while it runs. */
  stopped: { by: string | null; at: Date; reason: string | null; resumesAt: Date | null } | null
  /** The time of this replica's last successful poll; null before the first. */
  lastCheck: Date | null
  /** How many replicas may run scheduled jobs; null while that is unknown. */
  runners: number | null
  jobs: JobStatus[]
}

/** The state of the scheduler as this replica knows it without a query. */
export interface SchedulerHealth {
  /** Whether the scheduler of the cluster runs, as of the last poll; null before the first. */
  running: boolean | null
  /** Milliseconds since the last successful poll; null before the first. */
  heartbeatAgeMs: number | null
  /** How long the last successful poll took, in milliseconds; null before the first. */
  pollMs: number | null
  /** The last successful poll is older than `WEDGED_MS`. */
  wedged: boolean
  /** Ids of the jobs of which a run should have ended by now, as of the last poll. */
  overdue: string[]
  /** How many replicas may run scheduled jobs; null while that is unknown. */
  runners: number | null
}

/** What only this replica knows of a job. The runs are those of a replica job. */
export interface LocalJob {
  times: JobTimes
  running: RunRecord | undefined
  lastRun: RunRecord | undefined
  /** Whether the job is overdue by this replica's monotonic clock. */
  isLate: boolean
}

/**
 * Combines the state in the database with that of the replica jobs.
 * @param pollAgeMs milliseconds since the last successful poll; null before the first
 * @param runners how many replicas may run scheduled jobs; null while that is unknown
 */
export function statusOf(
  record: StatusRecord,
  jobs: readonly LocalJob[],
  pollAgeMs: number | null,
  runners: number | null
): SchedulerStatus {
  const { running, changedBy, changedAt, reason, resumesAt, now } = record
  const records = new Map(record.jobs.map(job => [job.jobId, job]))
  return {
    running,
    stopped: running ? null : { by: changedBy, at: changedAt, reason, resumesAt },
    lastCheck: pollAgeMs === null ? null : new Date(now.getTime() - pollAgeMs),
    runners,
    jobs: jobs.map(job => jobStatusOf(job, records.get(job.times.job.id), running, now.getTime()))
  }
}

/** @param record undefined while the job is not registered */
function jobStatusOf(local: LocalJob, record: JobRecord | undefined, running: boolean, nowMs: number): JobStatus {
  const { job } = local.times
  const paused = record?.paused ?? false
  const off = !running || paused
  const { dueMs, firstDueMs, lastDoneMs, ...runs } =
    job.scope === 'cluster' ? clusterState(record) : replicaState(local)
  const dues = { firstDueMs, lastDoneMs, periodMs: job.trigger.periodMs, maxRunMs: job.maxRunMs }
  return {
    job,
    nextRunTime: off ? null : new Date(dueMs ?? job.trigger.next(nowMs)),
    paused,
    pausedBy: record?.pausedBy ?? null,
    pausedReason: record?.pausedReason ?? null,
    overdue: !off && (local.isLate || isOverdue(dues, nowMs)),
    ...runs
  }
}

function clusterState(record: JobRecord | undefined) {
  return {
    dueMs: record?.nextFireAt?.getTime(),
    firstDueMs: record?.firstDueAt?.getTime() ?? null,
    lastDoneMs: record?.lastDoneAt?.getTime() ?? null,
    running: record?.running ?? null,
    lastRun: record?.lastRun ?? null
  }
}

function replicaState({ times: { dueMs, firstDueMs, lastDoneMs }, running, lastRun }: LocalJob) {
  return { dueMs, firstDueMs, lastDoneMs, running: running ?? null, lastRun: lastRun ?? null }
}

/**
 * @param poll.databaseMs the database's time, in milliseconds since the epoch; undefined before the first poll
 * @param poll.monotonicMs the local monotonic clock
 */
export function healthOf(
  poll: {
    running: boolean | undefined
    pollAgeMs: number | null
    pollMs: number | null
    databaseMs: number | undefined
    monotonicMs: number
  },
  jobs: Iterable<JobTimes>,
  runners: number | null
): SchedulerHealth {
  const { running, pollAgeMs, pollMs, databaseMs, monotonicMs } = poll
  const overdue = databaseMs === undefined ? [] : [...jobs].filter(times => times.isOverdue(databaseMs, monotonicMs))
  return {
    running: running ?? null,
    heartbeatAgeMs: pollAgeMs === null ? null : Math.round(pollAgeMs),
    pollMs: pollMs === null ? null : Math.round(pollMs),
    wedged: pollAgeMs !== null && pollAgeMs > WEDGED_MS,
    overdue: overdue.map(({ job }) => job.id),
    runners
  }
}
