import { randomUUID } from 'node:crypto'
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { CheckDetails } from '../domain/check-details.ts'
import type { ErrorCode } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { type ClusterSettings, differentSettings } from './cluster-settings.ts'

const HEARTBEAT_MS = 3 * SECOND
/** A replica whose heartbeat is newer is alive. */
const ALIVE = '10 seconds'
const DEREGISTER_DEADLINE_MS = SECOND

export interface Replica {
  instance_id: string
  version: string
  started_at: Date
  last_seen_at: Date
  draining: boolean
}

export interface ReplicasOptions {
  database: Database
  log: Log
  instanceId: string
  version: string
  /** The settings of this replica that the others must share. */
  settings: ClusterSettings
  isDraining: () => boolean
}

/** Registers this replica in the database, and lists the replicas that are alive. */
export class Replicas {
  readonly #options: ReplicasOptions
  readonly #incarnation = randomUUID()
  readonly #heartbeats: Poller
  #hasStarted = false
  #isRegistered = false
  #differences: readonly string[] = []

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#heartbeats = new Poller({
      poll: () => this.#sendHeartbeat(),
      intervalMs: HEARTBEAT_MS,
      log: options.log,
      failedMessage: 'replica heartbeat failed',
      recoveredMessage: 'replica heartbeat succeeded again'
    })
  }

  get instanceId(): string {
    return this.#options.instanceId
  }

  get version(): string {
    return this.#options.version
  }

  /** Starts the heartbeats; call it when the schema exists. Idempotent. */
  start(): void {
    this.#hasStarted = true
    this.#heartbeats.start()
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
    return this.#options.database.run(
      sql => sql<Replica[]>`
        select instance_id, version, started_at, last_seen_at, draining from replicas
        where last_seen_at > now() - ${ALIVE}::interval and last_seen_at < now() + ${ALIVE}::interval
        order by started_at, instance_id`
    )
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

  /** Whether the settings of this replica agree with those of the others. */
  settingsDetails(): CheckDetails {
    const differ = this.#differences.length > 0
    const rest = { latency_ms: null, age_ms: null, since: null }
    return { name: 'settings', status: differ ? 'degraded' : 'ok', code: differ ? 'settings_differ' : null, ...rest }
  }

  /** Ends the heartbeats and removes this replica from the table. Idempotent, never rejects. */
  async stop(): Promise<void> {
    const { database, log, instanceId } = this.#options
    const ended = this.#heartbeats.stop()
    if (!this.#hasStarted) return ended
    this.#hasStarted = false
    try {
      const deregister = async (sql: Sql) => {
        // A heartbeat after the delete would add the row again, and alerts would report this replica as silent.
        await ended
        await sql`delete from replicas where instance_id = ${instanceId}`
      }
      await database.run(deregister, { deadlineMs: DEREGISTER_DEADLINE_MS })
    } catch (err) {
      log.debug({ err }, 'replica not deregistered')
    }
  }

  async #sendHeartbeat(): Promise<undefined> {
    const { database, instanceId, version, settings, isDraining } = this.#options
    // Only for the first heartbeat: two processes with one name would otherwise report each other as dead.
    const isSuccessor = (sql: Sql) =>
      this.#isRegistered ? sql`false` : sql`known.incarnation is distinct from excluded.incarnation`
    const [first] = await database.run(
      sql => sql<FirstReplica[]>`
        with own as (
          insert into replicas as known (instance_id, version, draining, incarnation, settings)
          values (${instanceId}, ${version}, ${isDraining()}, ${this.#incarnation}::uuid, ${sql.json(settings)})
          on conflict (instance_id) do update
          set last_seen_at = now(), version = excluded.version, draining = excluded.draining,
            incarnation = excluded.incarnation, settings = excluded.settings,
            started_at = case when ${isSuccessor(sql)} then now() else known.started_at end,
            lost_at = case when ${isSuccessor(sql)} then known.last_seen_at else known.lost_at end
          returning instance_id, started_at
        )
        select other.instance_id, other.settings from replicas other, own
        where other.instance_id <> own.instance_id and not other.draining and other.settings is not null
          and other.last_seen_at > now() - ${ALIVE}::interval and other.last_seen_at < now() + ${ALIVE}::interval
          and (other.started_at, other.instance_id) < (own.started_at, own.instance_id)
        order by other.started_at, other.instance_id limit 1`
    )
    this.#isRegistered = true
    this.#compare(first)
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

/** The replica that started first, of those that are alive and do not drain. */
interface FirstReplica {
  instance_id: string
  settings: ClusterSettings
}
