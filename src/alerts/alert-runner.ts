// @FEAT:health-monitoring @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { Log } from '../log/log.ts'
import type { Message, Outbox } from '../notifications/outbox.ts'
import type { Job } from '../scheduler/job.ts'
import { noticeText, restartNotice, type TextOptions } from './alert-text.ts'
import {
  AlertBook,
  type AlertDetails,
  type AlertRules,
  type Conditions,
  type Notice,
  type Observation
} from './alerts.ts'

const TICK_MS = 10 * SECOND
const WATCH_MS = SECOND
/** By then every replica that lives has shown itself again, even after an outage of the database. */
const SETTLED_MS = 20 * SECOND
/** Ends of runs of one job that one look takes in. */
const MAX_ENDS = 100
/** A process that is frozen in a transaction holds the lock of all replicas: the server ends it. */
const SILENT_CLIENT_MS = 5 * SECOND
const MAX_UNSENT = 20
/** One look has some fifteen round trips to the database. */
const LOOK_DEADLINE_MS = 8 * SECOND

/** A job as far as alerts know it. */
export type WatchedJob = Pick<Job, 'id' | 'name' | 'trigger' | 'maxRunMs'>

export interface AlertRunnerOptions {
  database: Database
  outbox: Outbox
  log: Log
  instanceId: string
  /** The operator's chat. */
  chatId: string
  text: TextOptions
  jobs: readonly WatchedJob[]
  /** Jobs that are overdue, as this replica sees them. */
  overdue: () => readonly string[]
  /** Why this replica cannot serve; null while it can, or while it is meant not to. */
  notReady: () => Promise<string | null>
  /** Sends past the outbox, which lives in the database that may be what is gone. */
  sendDirectly: (text: string) => Promise<unknown>
  rules?: AlertRules
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
}

/**
 * Watches for what the operator must know, and tells it once, whichever replica sees it: what concerns the cluster is
 * remembered in the database and looked at by one replica at a time. Of its own readiness each replica speaks for itself;
 * of a database that is gone the eldest replica speaks for all, and to Telegram directly.
 */
export class AlertRunner {
  readonly #options: AlertRunnerOptions
  readonly #now: () => number
  readonly #readiness: AlertBook
  #unsent: Notice[] = []
  #isEldest = true
  #startedAt = 0
  /** Since when every look at the database succeeded. */
  #contactSince: number | undefined
  #tickTimer: NodeJS.Timeout | undefined
  #watchTimer: NodeJS.Timeout | undefined
  #ticking: Promise<void> | undefined
  #failing = false
  #closed = false

  constructor(options: AlertRunnerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#readiness = new AlertBook({ now: this.#now, ...(options.rules && { rules: options.rules }) })
  }

  /** Begins to watch; call it when the replica has started. Idempotent. */
  start(): void {
    if (this.#closed || this.#tickTimer) return
    this.#startedAt = this.#now()
    this.#tickTimer = setInterval(() => void this.tick(), TICK_MS).unref()
    this.#watchTimer = setInterval(() => void this.watch(), WATCH_MS).unref()
  }

  /** Releases its timers. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#tickTimer)
    clearInterval(this.#watchTimer)
    await this.#ticking
  }

  /** Looks at this replica's readiness. Never rejects, as `notReady` does not. */
  async watch(): Promise<void> {
    const { instanceId, notReady } = this.#options
    const error = await notReady()
    const key = `readiness:${instanceId}`
    const seen: Observation =
      error === null
        ? { key, failing: false }
        : { key, failing: true, details: { kind: 'readiness', instance: instanceId, error } }
    const notices = this.#readiness.observe(seen).filter(({ details }) => this.#isEldest || !isOfDatabase(details))
    if (notices.length === 0) return
    this.#unsent = [...this.#unsent, ...notices].slice(-MAX_UNSENT)
    await this.tick()
  }

  /** Looks at the cluster, and tells what has become due. Never rejects. */
  tick(): Promise<void> {
    this.#ticking ??= this.#look().finally(() => {
      this.#ticking = undefined
    })
    return this.#ticking
  }

  async #look(): Promise<void> {
    const { database, outbox, log } = this.#options
    const own = this.#unsent
    try {
      await database.transaction(
        async tx => {
          // Sent together, run one after the other, here and below: each wait costs a network round trip. A statement with
          // parameters costs two and is not sent together with the next one, so constants are written into the text.
          const [, , [lock]] = await Promise.all([
            tx.unsafe(`set local idle_in_transaction_session_timeout = ${SILENT_CLIENT_MS}`).execute(),
            this.#findEldest(tx),
            tx<{ held: boolean }[]>`select pg_try_advisory_xact_lock(hashtext('alerts')) as held`
          ])
          const ofCluster = lock?.held ? await this.#observeCluster(tx) : []
          // Last: the outbox comes after replicas and alerts in LOCK_ORDER.
          await outbox.enqueue(tx, [...this.#messagesOf(own), ...ofCluster])
        },
        { deadlineMs: LOOK_DEADLINE_MS }
      )
      this.#unsent = this.#unsent.filter(notice => !own.includes(notice))
      this.#failing = false
      this.#contactSince ??= this.#now()
    } catch (err) {
      this.#contactSince = undefined
      if (err instanceof DatabaseUnavailableError) await this.#tellDirectly()
      else if (!this.#failing) log.warn({ err }, 'alerts not evaluated')
      this.#failing = true
    }
  }

  async #findEldest(tx: TransactionSql): Promise<void> {
    const [eldest] = await tx<{ instance_id: string }[]>`
      select instance_id from replicas where last_seen_at > now() - ${deadAfter(tx)} and not draining
      order by started_at, instance_id limit 1`
    this.#isEldest = eldest === undefined || eldest.instance_id === this.#options.instanceId
  }

  /** Observes what concerns the whole cluster, and keeps it. @returns the messages that have become due */
  async #observeCluster(tx: TransactionSql): Promise<Message[]> {
    const { rules } = this.#options
    const [kept, ends] = await Promise.all([
      tx<{ key: string; condition: Conditions[string] }[]>`select key, condition from alerts`,
      this.#endsOfRuns(tx)
    ])
    const conditions = Object.fromEntries(kept.map(({ key, condition }) => [key, condition]))
    const book = new AlertBook({ conditions, now: this.#now, ...(rules && { rules }) })
    const notices = book.observe(...ends)
    const troubles = book.snapshot()
    const seen = await this.#observations(tx, id => troubles[jobKey(id)]?.trouble?.failing === true)
    const failing = new Set(seen.map(({ key }) => key))
    const well: Observation[] = kept
      .filter(({ key }) => !failing.has(key) && !key.startsWith(jobKey('')))
      .map(({ key }) => ({ key, failing: false }))
    notices.push(...book.observe(...seen, ...well), ...book.tick())
    const after = book.snapshot()
    const rows = Object.entries(after).map(([key, condition]) => ({ key, condition }))
    if (rows.length > 0 || kept.length > 0) {
      await tx`
        with now_kept as (
          select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as kept (key text, condition jsonb)
        ), gone as (
          delete from alerts where not exists (select from now_kept where now_kept.key = alerts.key)
        )
        insert into alerts (key, condition) select key, condition from now_kept
        on conflict (key) do update set condition = excluded.condition, updated_at = now()`
    }
    return [...this.#messagesOf(notices), ...(this.#isSettled ? await this.#ends(tx) : [])]
  }

  get #isSettled(): boolean {
    return this.#contactSince !== undefined && this.#now() - this.#contactSince >= SETTLED_MS
  }

  /**
   * The ends of runs since the last look, of each job in their order, which is that of `seq`: a job has one unfinished
   * run at most. At the first look, the last end of each job.
   */
  async #endsOfRuns(tx: TransactionSql): Promise<Observation[]> {
    const names = new Map(this.#options.jobs.map(({ id, name }) => [id, name]))
    const ends = await tx<RunEnd[]>`
      with ended as (
        select run.* from jsonb_array_elements_text(${JSON.stringify([...names.keys()])}::text::jsonb) as job (job_id)
        left join alert_progress progress using (job_id)
        cross join lateral (
          select job_id, seq, run_id, outcome, instance, error_code, finished_at as at from job_runs
          where job_id = job.job_id and outcome in ('succeeded', 'failed', 'abandoned')
            -- What is older than a day is nobody's news, as when nobody was to be told for long.
            and finished_at > now() - interval '1 day'
            and seq > coalesce(progress.seq, (
            select max(seq) - 1 from job_runs
            where job_id = job.job_id and outcome in ('succeeded', 'failed', 'abandoned')
          ))
          order by seq limit ${MAX_ENDS}
        ) run
      ), moved as (
        insert into alert_progress (job_id, seq) select job_id, max(seq) from ended group by job_id
        on conflict (job_id) do update set seq = excluded.seq
      )
      select * from ended order by seq`
    return ends.flatMap(({ job_id, run_id, outcome, instance, error_code, at }): Observation[] => {
      const job = { jobId: job_id, jobName: names.get(job_id) ?? job_id, runId: run_id }
      const end = { key: jobKey(job_id), at: Math.min(at.getTime(), this.#now()) }
      if (outcome === 'succeeded') return [{ ...end, failing: false }]
      // A replica that is replaced is no trouble of the job: the next run goes on.
      if (error_code === 'SHUTDOWN') return []
      const details: AlertDetails =
        outcome === 'failed'
          ? { kind: 'job_failed', ...job, errorCode: error_code ?? 'JOB_FAILED' }
          : { kind: 'job_abandoned', ...job, instance }
      return [{ ...end, failing: true, details, episode: run_id }]
    })
  }

  /** What fails now, of all that the database knows. A job that is known to fail is not told to be late as well. */
  async #observations(tx: TransactionSql, fails: (jobId: string) => boolean): Promise<Observation[]> {
    const { jobs, overdue } = this.#options
    const names = new Map(jobs.map(({ id, name }) => [id, name]))
    const observations: Observation[] = []

    const [[cluster], [stopped], refused, silent] = await Promise.all([
      tx<{ since: Date | null }[]>`
        select min(started_at) as since from replicas where last_seen_at > now() - ${deadAfter(tx)}`,
      tx<{ by: string | null; at: Date; reason: string | null; until: Date | null }[]>`
        select changed_by as by, changed_at as at, reason, resumes_at as until from scheduler_state
        where not running and (resumes_at is null or resumes_at > now())`,
      tx<{ account_id: string; name: string; exchange: string }[]>`
        select account_id, name, exchange from accounts where is_active and state = 'credentials_refused'`,
      this.#silentReplicas(tx)
    ])
    const upSince = cluster?.since?.getTime() ?? this.#startedAt
    const isLate = new Set(overdue())
    // While nothing ran, nothing could be on time: a job is late once it had its chance and the time for it.
    const late = jobs
      .filter(({ id, trigger, maxRunMs }) => isLate.has(id) && this.#now() > trigger.next(upSince) + maxRunMs)
      .flatMap(({ id }) => (fails(id) ? [] : [id]))
    for (const { job_id: jobId, due } of late.length === 0 ? [] : await this.#dues(tx, late)) {
      const details = { kind: 'job_overdue' as const, jobId, jobName: names.get(jobId) ?? jobId, dueAt: due.getTime() }
      observations.push({ key: `job_overdue:${jobId}`, failing: true, details, episode: String(due.getTime()) })
    }

    if (stopped) {
      const { by, at, reason, until } = stopped
      const details = { kind: 'scheduler_stopped' as const, by: by ?? '', reason, until: until?.getTime() ?? null }
      const since = at.getTime()
      observations.push({ key: 'scheduler_stopped', failing: true, details, since, episode: String(since) })
    }

    for (const { account_id, name, exchange } of refused) {
      const details = { kind: 'credentials_refused' as const, exchange, account: name }
      observations.push({ key: `credentials_refused:${account_id}`, failing: true, details })
    }
    return [...observations, ...silent]
  }

  /** Since when each of the jobs has been due. */
  #dues(tx: TransactionSql, jobIds: readonly string[]): Promise<{ job_id: string; due: Date }[]> {
    return tx<{ job_id: string; due: Date }[]>`
      select job_id, coalesce(greatest(first_due_at, last_success_at), now()) as due from scheduled_jobs
      where job_id in (select jsonb_array_elements_text(${JSON.stringify(jobIds)}::text::jsonb))`
  }

  /**
   * Replicas that neither show themselves nor have said goodbye, and in place of which none has started: dead, frozen,
   * or cut off from the database, of which only the eldest can tell by itself.
   */
  async #silentReplicas(tx: TransactionSql): Promise<Observation[]> {
    if (!this.#isSettled) return []
    const silent = await tx<{ instance_id: string; seen: Date }[]>`
      select instance_id, last_seen_at as seen from replicas silent
      where last_seen_at < now() - ${deadAfter(tx)} and not draining
        and not exists (
          select from replicas living
          where living.last_seen_at >= now() - ${deadAfter(tx)} and living.started_at > silent.last_seen_at
        )`
    return silent.map(({ instance_id: instance, seen }) => {
      const since = seen.getTime()
      const details = { kind: 'replica_silent' as const, instance, lastSeenAt: since }
      return { key: `replica_silent:${instance}`, failing: true, details, since, episode: String(since) }
    })
  }

  /**
   * Removes the ends of replicas that stopped without a sign-off and that have started again or been replaced. Locked rows
   * are left for the next time: their replicas write to them now.
   * @returns a message about them and about the fires that were missed, if there are any
   */
  async #ends(tx: TransactionSql): Promise<Message[]> {
    const { chatId, text, jobs } = this.#options
    const ends = await tx<{ instance_id: string; seen: Date; restarted: Date }[]>`
      with living as (
        select instance_id, started_at from replicas where last_seen_at >= now() - ${deadAfter(tx)}
      ), gone as (
        delete from replicas
        where instance_id in (
          select instance_id from replicas dead
          where last_seen_at < now() - ${deadAfter(tx)}
            and exists (select from living where living.started_at > dead.last_seen_at)
          for update skip locked
        )
        returning instance_id, last_seen_at
      ), returned as (
        update replicas set lost_at = null
        from (
          select instance_id, lost_at from replicas
          where lost_at is not null and last_seen_at >= now() - ${deadAfter(tx)} for update skip locked
        ) as before
        where replicas.instance_id = before.instance_id
        returning replicas.instance_id, before.lost_at, replicas.started_at
      )
      select instance_id, last_seen_at as seen,
        (select min(started_at) from living where started_at > last_seen_at) as restarted from gone
      union all
      select instance_id, lost_at, started_at from returned
      order by seen`
    const [first] = ends
    const last = ends.at(-1)
    if (!first || !last) return []
    const missed = await tx<{ job_id: string; count: number }[]>`
      select job_id, sum(skipped_count)::int as count from job_runs
      where outcome = 'skipped' and started_at > ${first.seen} group by job_id order by job_id`
    const restart = {
      instance: ends.map(({ instance_id }) => instance_id).join(', '),
      startedAt: last.restarted.getTime(),
      lastSeenAt: last.seen.getTime(),
      missed: missed.map(({ job_id, count }) => ({
        jobName: jobs.find(({ id }) => id === job_id)?.name ?? job_id,
        count
      }))
    }
    const { dedupeKey, text: html } = restartNotice(restart, text)
    return [{ chatId, text: html, key: dedupeKey }]
  }

  #messagesOf(notices: readonly Notice[]): Message[] {
    const { chatId, text } = this.#options
    return notices.map(notice => ({ chatId, text: noticeText(notice, text), key: notice.dedupeKey }))
  }

  /** Without the database there is no outbox: what concerns it cannot wait for it. */
  async #tellDirectly(): Promise<void> {
    const { sendDirectly, text, log } = this.#options
    for (const notice of [...this.#unsent]) {
      try {
        await sendDirectly(noticeText(notice, text))
        this.#unsent = this.#unsent.filter(one => one !== notice)
      } catch (err) {
        log.warn({ err }, 'alert not sent, waiting for the database')
        return
      }
    }
  }
}

interface RunEnd {
  job_id: string
  run_id: string
  outcome: string
  instance: string
  error_code: string | null
  at: Date
}

/** How long a replica that does not show itself counts as alive. */
function deadAfter(tx: TransactionSql) {
  return tx`interval '30 seconds'`
}

function jobKey(jobId: string): string {
  return `job:${jobId}`
}

function isOfDatabase(details: Notice['details']): boolean {
  return details.kind === 'readiness' && details.error.startsWith('database_')
}
