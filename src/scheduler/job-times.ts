// @FEAT:scheduler @COMP:service @TYPE:core
import type { Job } from './job.ts'
import { isOverdue } from './overdue.ts'
import type { FireTimes, NextFire } from './store.ts'

/** The state of the scheduler that the fire times depend on. Times in milliseconds since the epoch. */
export interface SchedulerState {
  nowMs: number
  running: boolean
  /** The local monotonic clock. */
  monotonicMs: number
  /** Whether the scheduler was started, stopped or restarted since the last poll. */
  changed: boolean
}

/** The fire times of one job, as this replica knows them. Times in milliseconds since the epoch. */
export class JobTimes {
  readonly job: Job
  /** The next fire time; undefined while the job has none, and while this replica claims it. */
  dueMs: number | undefined
  paused = false
  claiming = false
  firstDueMs: number | null = null
  lastDoneMs: number | null = null
  /** The time since when the job is due, by the database's clock and by the local monotonic clock. */
  #due: { databaseMs: number; monotonicMs: number } | undefined

  constructor(job: Job) {
    this.job = job
  }

  /**
   * Applies what a poll has read. The fire times of a cluster job are those of the database. A replica job has its own,
   * which begin with the start of the scheduler or the resume of the job.
   */
  apply({ paused, nextFireMs, firstDueMs, lastDoneMs }: FireTimes, state: SchedulerState): void {
    this.paused = paused
    const off = !state.running || paused
    if (this.job.scope === 'replica') this.#applyOwn(off, state)
    else {
      this.firstDueMs = firstDueMs
      this.lastDoneMs = lastDoneMs
      if (!this.claiming) this.dueMs = off ? undefined : (nextFireMs ?? undefined)
    }
    this.#observeDue(state)
  }

  /**
   * The next fire time to set for a job that has none, or one that is later than the fire after the next. Only a clock
   * that was set back leaves such a time, and the job would not run until then.
   * @returns undefined where `fireMs` needs no change
   */
  missingFire(fireMs: number | null, nowMs: number): NextFire | undefined {
    const { id, trigger } = this.job
    if (fireMs !== null && fireMs - nowMs <= trigger.periodMs) return undefined
    const nextFireMs = trigger.next(nowMs)
    const latestMs = trigger.next(nextFireMs)
    return fireMs === null || fireMs > latestMs ? { jobId: id, nextFireMs, latestMs } : undefined
  }

  #applyOwn(off: boolean, { nowMs, changed }: SchedulerState): void {
    if (off) {
      this.dueMs = undefined
      this.firstDueMs = null
      return
    }
    if (this.dueMs !== undefined && this.missingFire(this.dueMs, nowMs)) {
      this.dueMs = undefined
      this.firstDueMs = null
      this.lastDoneMs = null
    }
    if (changed || (this.dueMs === undefined && !this.claiming)) this.dueMs = this.job.trigger.next(nowMs)
    this.firstDueMs ??= this.dueMs ?? null
  }

  /** @param nowMs the database's time */
  isOverdue(nowMs: number, monotonicMs: number): boolean {
    const { trigger, maxRunMs } = this.job
    const { firstDueMs, lastDoneMs } = this
    const dues = { firstDueMs, lastDoneMs, periodMs: trigger.periodMs, maxRunMs }
    return isOverdue(dues, nowMs) || this.isLate(monotonicMs)
  }

  /** Whether the job is overdue by the local monotonic clock, whatever happened to the clock of the database. */
  isLate(monotonicMs: number): boolean {
    const { trigger, maxRunMs } = this.job
    return this.#due !== undefined && monotonicMs > this.#due.monotonicMs + trigger.periodMs + maxRunMs
  }

  #observeDue({ nowMs, monotonicMs }: SchedulerState): void {
    const { firstDueMs, lastDoneMs } = this
    if (firstDueMs === null) {
      this.#due = undefined
      return
    }
    const databaseMs = Math.max(firstDueMs, lastDoneMs ?? firstDueMs)
    if (databaseMs === this.#due?.databaseMs) return
    // No due time is further ahead than one period: a later one was written before the clock was set back.
    const aheadMs = Math.min(databaseMs - nowMs, this.job.trigger.periodMs)
    this.#due = { databaseMs, monotonicMs: monotonicMs + aheadMs }
  }
}
