import { randomBytes, randomUUID } from 'node:crypto'
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { backgroundTimers, sleep, type Timers } from '../async/timers.ts'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { CheckDetails } from '../domain/check-details.ts'
import type { ErrorCode } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { type ClusterSettings, differentSettings } from './cluster-settings.ts'

const HEARTBEAT_MS = 3 * SECOND
/** A replica whose heartbeat is newer is alive. */
const ALIVE = '10 seconds'
const DEREGISTER_DEADLINE_MS = SECOND
/** A process of the same name whose heartbeat does not change for this long has ended, in milliseconds. */
const SILENT_MS = HEARTBEAT_MS + SECOND
const LOOK_MS = SECOND / 2
const LIST_DEADLINE_MS = 3 * SECOND

export interface Replica {
  instance_id: string
  version: string
  started_at: Date
  last_seen_at: Date
  draining: boolean
  runs_jobs: boolean
}

export interface ReplicasOptions {
  database: Database
  log: Log
  instanceId: string
  version: string
  /** The settings of this replica that the others must share. */
  settings: ClusterSettings
  isDraining: () => boolean
  /** Whether this replica is to run scheduled jobs. */
  schedulerEnabled: boolean
  /** Default `backgroundTimers`. */
  timers?: Timers
}

/** Registers this replica in the database, and lists the replicas that are alive. */
export class Replicas {
  readonly #options: ReplicasOptions
  readonly #incarnation = randomUUID()
  readonly #heartbeats: Poller
  #instanceId: string
  #stopped = new AbortController()
  #hasStarted = false
  #isRegistered = false
  #known: { replicas: readonly Replica[]; readMs: number } | undefined
  #differences: readonly string[] = []

  #jobRunners: number | undefined
  #living: number | undefined

  /** The last heartbeat that succeeded. */
  #lastHeartbeat: { latencyMs: number; sentMs: number } | undefined

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#instanceId = options.instanceId
    this.#heartbeats = new Poller({
      poll: () => this.#sendHeartbeat(),
      intervalMs: HEARTBEAT_MS,
      log: options.log,
      failedMessage: 'replica heartbeat failed',
      recoveredMessage: 'replica heartbeat succeeded again'
    })
  }

  /** The name of this replica, which no other living replica has. Final after `register`. */
  get instanceId(): string {
    return this.#instanceId
  }

  /** How many living replicas may run scheduled jobs, as of the last heartbeat; undefined before the first. */
  get jobRunners(): number | undefined {
    return this.#jobRunners
  }

  /**
   * How many replicas are alive, this one and draining ones included, as of the last heartbeat (every 3 s); undefined before
   * the first. While the database is away it is the last known number. A replica that was killed counts for 10 s.
   */
  get living(): number | undefined {
    return this.#living
  }

  get version(): string {
    return this.#options.version
  }

  /**
   * Registers this replica and starts its heartbeats; to be called when the schema exists. Where a living replica has the
   * name, this one takes a free name and reports it. A process of that name that was killed a moment ago looks the same:
   * then this waits 4 s, to see whether its heartbeat changes. Idempotent.
   * @throws {DatabaseUnavailableError} the first heartbeat failed; the next ones follow
   */
  async register(): Promise<void> {
    if (!this.#hasStarted && (await this.#isNameTaken())) {
      this.#instanceId = `${this.#options.instanceId}-${randomBytes(4).toString('hex')}`
      const names = { instance_id: this.#options.instanceId, used: this.#instanceId }
      this.#options.log.error(names, 'INSTANCE_ID belongs to another replica, a free name is used')
    }
    if (this.#stopped.signal.aborted) return
    this.#hasStarted = true
    this.#heartbeats.start()
    await this.sendHeartbeat()
    if (!this.#isRegistered) throw new DatabaseUnavailableError('database_unreachable')
  }

  /**
   * Sends a heartbeat now. The first one takes over a row that another process of the same name left behind, and records
   * when that process was last seen. Never rejects.
   */
  sendHeartbeat(): Promise<void> {
    return this.#heartbeats.kick()
  }

  /** The replicas with a heartbeat in the last 10 s, this one included, in the order of their start. */
  async alive(): Promise<Replica[]> {
    const replicas = await this.#options.database.run(
      sql => sql<Replica[]>`
        select instance_id, version, started_at, last_seen_at, draining, runs_jobs from replicas
        where last_seen_at > now() - ${ALIVE}::interval and last_seen_at < now() + ${ALIVE}::interval
        order by started_at, instance_id`,
      { deadlineMs: LIST_DEADLINE_MS }
    )
    this.#known = { replicas, readMs: performance.now() }
    return replicas
  }

  /**
   * The replicas as `alive`, or as this replica last read them where the database cannot be used.
   * @param isUsable false: the database is known to be unusable, and is not asked
   * @returns also the age of the list in milliseconds; null when it was never read
   */
  async known(isUsable: boolean): Promise<{ replicas: readonly Replica[]; ageMs: number | null }> {
    try {
      if (isUsable) return { replicas: await this.alive(), ageMs: 0 }
    } catch (err) {
      if (!(err instanceof DatabaseUnavailableError)) throw err
    }
    const { replicas, readMs } = this.#known ?? { replicas: [], readMs: null }
    return { replicas, ageMs: readMs === null ? null : Math.round(performance.now() - readMs) }
  }

  /**
   * Why this replica may run no job: it is not registered yet, or its settings differ from those of the replica that
   * started first. Two replicas with different settings would book the same execution on different days, for example.
   * @returns undefined while it may, as of the last heartbeat
   */
  get refusal(): ErrorCode | undefined {
    if (!this.#isRegistered) return 'DATABASE_UNAVAILABLE'
    return this.#differences.length > 0 ? 'SETTINGS_DIFFER' : undefined
  }

  /** Whether the settings of this replica agree with those of the others, as of the last heartbeat. */
  settingsDetails(): CheckDetails {
    const differ = this.#differences.length > 0
    const { latencyMs = null, sentMs } = this.#lastHeartbeat ?? {}
    const age_ms = sentMs === undefined ? null : Math.round(performance.now() - sentMs)
    const rest = { latency_ms: latencyMs, age_ms, since: null }
    return { name: 'settings', status: differ ? 'degraded' : 'ok', code: differ ? 'settings_differ' : null, ...rest }
  }

  /** Ends the heartbeats and removes this replica from the table. Idempotent, never rejects. */
  async stop(): Promise<void> {
    const { database, log } = this.#options
    this.#stopped.abort()
    const ended = this.#heartbeats.stop()
    if (!this.#hasStarted) return ended
    this.#hasStarted = false
    try {
      const deregister = async (sql: Sql) => {
        // A heartbeat after the delete would add the row again, and alerts would report this replica as silent.
        await ended
        await sql`delete from replicas 
          where instance_id = ${this.#instanceId} and incarnation = ${this.#incarnation}::uuid`
      }
      await database.run(deregister, { deadlineMs: DEREGISTER_DEADLINE_MS })
    } catch (err) {
      log.debug({ err }, 'replica not deregistered')
    }
  }

  async #sendHeartbeat(): Promise<undefined> {
    const { database, version, settings, isDraining } = this.#options
    // Only for the first heartbeat: two processes with one name would otherwise report each other as dead.
    const isSuccessor = (sql: Sql) =>
      this.#isRegistered ? sql`false` : sql`known.incarnation is distinct from excluded.incarnation`
    const askedMs = performance.now()
    const [others] = await database.run(
      sql => sql<Others[]>`
        with own as (
          insert into replicas as known (instance_id, version, draining, incarnation, settings, runs_jobs)
          values (${this.#instanceId}, ${version}, ${isDraining()}, ${this.#incarnation}::uuid, ${sql.json(settings)},
            ${this.#runsJobs()})
          on conflict (instance_id) do update
          set last_seen_at = now(), version = excluded.version, draining = excluded.draining,
            incarnation = excluded.incarnation, settings = excluded.settings, runs_jobs = excluded.runs_jobs,
            started_at = case when ${isSuccessor(sql)} then now() else known.started_at end,
            lost_at = case when ${isSuccessor(sql)} then known.last_seen_at else known.lost_at end
          returning instance_id, started_at
        )
        select count(other.instance_id)::int as living,
          count(other.instance_id) filter (where other.runs_jobs and not other.draining)::int as runners, (
            array_agg(jsonb_build_object('instance_id', other.instance_id, 'settings', other.settings)
              order by other.started_at, other.instance_id)
            filter (where other.settings is not null and not other.draining
              and (other.started_at, other.instance_id) < (own.started_at, own.instance_id))
          )[1] as first
        from own left join replicas other on other.instance_id <> own.instance_id
          and other.last_seen_at > now() - ${ALIVE}::interval and other.last_seen_at < now() + ${ALIVE}::interval
        group by own.instance_id`
    )
    const sentMs = performance.now()
    this.#lastHeartbeat = { latencyMs: Math.round(sentMs - askedMs), sentMs }
    this.#isRegistered = true
    this.#compare(others?.first ?? undefined)
    this.#living = (others?.living ?? 0) + 1
    this.#jobRunners = (others?.runners ?? 0) + Number(this.#runsJobs() && !isDraining())
  }

  #runsJobs(): boolean {
    return this.#options.schedulerEnabled && this.#differences.length === 0
  }

  /** Whether another living process has the name of this replica. */
  async #isNameTaken(): Promise<boolean> {
    const { timers = backgroundTimers } = this.#options
    const before = await this.#namesake()
    for (let waitedMs = 0; before && waitedMs < SILENT_MS && !this.#stopped.signal.aborted; waitedMs += LOOK_MS) {
      await sleep(timers, LOOK_MS, this.#stopped.signal).catch(() => undefined)
      const now = await this.#namesake()
      if (!now) return false
      if (now.beat !== before.beat) return true
    }
    return false
  }

  /** The heartbeat of another process with the name of this replica, where it is recent. */
  async #namesake(): Promise<{ beat: string } | undefined> {
    const [namesake] = await this.#options.database.run(
      sql => sql<{ beat: string }[]>`
        select concat(incarnation, ' ', last_seen_at) as beat from replicas
        where instance_id = ${this.#instanceId} and incarnation is distinct from ${this.#incarnation}::uuid
          and last_seen_at > now() - ${ALIVE}::interval and last_seen_at < now() + ${ALIVE}::interval`
    )
    return namesake
  }

  #compare(first: FirstReplica | undefined): void {
    const { settings, log } = this.#options
    const differences = first === undefined ? [] : differentSettings(settings, first.settings)
    if (differences.join() === this.#differences.join()) return
    this.#differences = differences
    if (first === undefined || differences.length === 0) log.info('settings agree, jobs run here again')
    else
      log.error(
        { settings: differences, other: first.instance_id },
        'settings differ between replicas, no job runs here'
      )
  }
}

/** What a heartbeat reads of the other living replicas. */
interface Others {
  living: number
  /** Those that may run scheduled jobs and do not drain. */
  runners: number
  first: FirstReplica | null
}

/** The replica that started first, of those that are alive and do not drain. */
interface FirstReplica {
  instance_id: string
  settings: ClusterSettings
}
