// @FEAT:scheduler @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { Database } from '../database/database.ts'
import type { LeaseStore, Run, RunResult } from './run.ts'
import type { RunRecord } from './run-history.ts'
import { limitedTransaction } from './transaction.ts'

/** The leases of replica jobs: no other replica can take over such a run. */
export function localLeases(database: Database): LeaseStore {
  return {
    renew: async () => true,
    finish: async () => true,
    fenced: (_claim, work, options) => limitedTransaction(database, work, options)
  }
}

/** Why a replica job does not start. */
export type LocalConflict = { kind: 'busy'; running: RunRecord } | { kind: 'recent'; run: RunRecord }

/** The runs of the jobs that every replica runs for itself, in memory: of each job the running one and the last one. */
export class ReplicaJobs {
  readonly #nowMs: () => number
  readonly #running = new Map<string, Run>()
  readonly #lastRuns = new Map<string, RunRecord>()
  readonly #lastSuccesses = new Map<string, RunRecord>()

  /** @param nowMs the time in milliseconds since the epoch */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /**
   * Returns the run because of which the job does not start, if any: the running one, or one that succeeded within the
   * last `withinSeconds` seconds.
   */
  conflict(jobId: string, withinSeconds?: number): LocalConflict | undefined {
    const running = this.running(jobId)
    if (running) return { kind: 'busy', running }
    const last = this.#lastSuccesses.get(jobId)
    if (withinSeconds === undefined || !last || last.finishedAt === null) return undefined
    return this.#nowMs() - last.finishedAt.getTime() <= withinSeconds * SECOND
      ? { kind: 'recent', run: last }
      : undefined
  }

  /** Records that the run has started. */
  recordStart(run: Run): void {
    this.#running.set(run.options.job.id, run)
  }

  /** Records the end of a run that `recordStart` was called for. */
  recordEnd(run: Run, result: RunResult): void {
    const jobId = run.options.job.id
    this.#running.delete(jobId)
    const ended: RunRecord = {
      ...run.record(),
      finishedAt: new Date(this.#nowMs()),
      durationMs: result.durationMs,
      outcome: result.outcome === 'lost' ? 'failed' : result.outcome,
      result: 'result' in result ? result.result : null,
      errorCode: 'errorCode' in result ? result.errorCode : null
    }
    this.#lastRuns.set(jobId, ended)
    if (ended.outcome === 'succeeded') this.#lastSuccesses.set(jobId, ended)
  }

  running(jobId: string): RunRecord | undefined {
    return this.#running.get(jobId)?.record()
  }

  lastRun(jobId: string): RunRecord | undefined {
    return this.#lastRuns.get(jobId)
  }

  /** The run with this id, while it runs and as long as it is the last one of its job, or the last that succeeded. */
  byId(runId: string): RunRecord | undefined {
    const running = [...this.#running.values()].find(run => run.runId === runId)
    const ended = [...this.#lastRuns.values(), ...this.#lastSuccesses.values()]
    return running?.record() ?? ended.find(run => run.runId === runId)
  }
}
