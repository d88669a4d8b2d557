// @FEAT:scheduler @COMP:service @TYPE:core
import type { Job } from './job.ts'
import { isOverdue } from './overdue.ts'
import type { FireTimes } from './store.ts'

/** The state of the scheduler that the fire times depend on. Times in milliseconds since the epoch. */
export interface SchedulerState {
  nowMs: number
  running: boolean
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
  lastSuccessMs: number | null = null

  constructor(job: Job) {
    this.job = job
  }

  /**
   * Applies what a poll has read. The fire times of a cluster job are those of the database. A replica job has its own,
   * which begin with the start of the scheduler or the resume of the job.
   */
  apply({ paused, nextFireMs, firstDueMs, lastSuccessMs }: FireTimes, state: SchedulerState): void {
    this.paused = paused
    const off = !state.running || paused
    if (this.job.scope === 'replica') this.#applyOwn(off, state)
    else {
      this.firstDueMs = firstDueMs
      this.lastSuccessMs = lastSuccessMs
      if (!this.claiming) this.dueMs = off ? undefined : (nextFireMs ?? undefined)
    }
  }

  #applyOwn(off: boolean, { nowMs, changed }: SchedulerState): void {
    if (off) {
      this.dueMs = undefined
      this.firstDueMs = null
      return
    }
    if (changed || (this.dueMs === undefined && !this.claiming)) this.dueMs = this.job.trigger.next(nowMs)
    this.firstDueMs ??= this.dueMs ?? null
  }

  isOverdue(nowMs: number): boolean {
    const { trigger, maxRunMs } = this.job
    const { firstDueMs, lastSuccessMs } = this
    return isOverdue({ firstDueMs, lastSuccessMs, periodMs: trigger.periodMs, maxRunMs }, nowMs)
  }
}
