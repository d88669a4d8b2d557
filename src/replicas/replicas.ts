import { randomUUID } from 'node:crypto'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Log } from '../log/log.ts'

/** How often a replica shows itself, and for how long it then counts as alive, in milliseconds. */
const BEAT_MS = 3_000
const ALIVE = '10 seconds'
/** How long saying goodbye may take, in milliseconds. */
const GOODBYE_MS = 1_000

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
  isDraining: () => boolean
}

/** Shows this replica to the others, and the others to whoever asks. */
export class Replicas {
  readonly #options: ReplicasOptions
  readonly #incarnation = randomUUID()
  #shown = false
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> | undefined
  #failing = false

  constructor(options: ReplicasOptions) {
    this.#options = options
  }

  get instanceId(): string {
    return this.#options.instanceId
  }

  get version(): string {
    return this.#options.version
  }

  /** Begins to show itself; call it when the schema is there. */
  start(): void {
    clearInterval(this.#timer)
    void this.beat()
    this.#timer = setInterval(() => void this.beat(), BEAT_MS).unref()
  }

  /**
   * Shows itself once; while it is at it, another call waits for the same. A row that a process of the same name left
   * behind is taken over, with the time when that was last seen. Never rejects.
   */
  beat(): Promise<void> {
    this.#beating ??= this.#show().finally(() => {
      this.#beating = undefined
    })
    return this.#beating
  }

  async #show(): Promise<void> {
    const { database, log, instanceId, version, isDraining } = this.#options
    // Only at the first sign of life: two that live under one name would else take each other for dead.
    const isSuccessor = (sql: Sql) =>
      this.#shown ? sql`false` : sql`shown.incarnation is distinct from excluded.incarnation`
    try {
      await database.run(
        sql => sql`
          insert into replicas as shown (instance_id, version, draining, incarnation)
          values (${instanceId}, ${version}, ${isDraining()}, ${this.#incarnation}::uuid)
          on conflict (instance_id) do update
          set last_seen_at = now(), version = excluded.version, draining = excluded.draining,
            incarnation = excluded.incarnation,
            started_at = case when ${isSuccessor(sql)} then now() else shown.started_at end,
            lost_at = case when ${isSuccessor(sql)} then shown.last_seen_at else shown.lost_at end`
      )
      this.#shown = true
      this.#failing = false
    } catch (err) {
      if (!this.#failing) log.warn({ err }, 'replica heartbeat failed')
      this.#failing = true
    }
  }

  /** The replicas that showed themselves lately, this one included. */
  async alive(): Promise<Replica[]> {
    return this.#options.database.run(
      sql => sql<Replica[]>`
        select instance_id, version, started_at, last_seen_at, draining from replicas
        where last_seen_at > now() - ${ALIVE}::interval order by started_at, instance_id`
    )
  }

  /** Takes itself from the list. Idempotent, never rejects. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    const { database, log, instanceId } = this.#options
    if (!this.#timer) return
    this.#timer = undefined
    try {
      const leave = async (sql: Sql) => {
        // It would put the row back, and the others would miss this replica for one that died.
        await this.#beating
        await sql`delete from replicas where instance_id = ${instanceId}`
      }
      await database.run(leave, { deadlineMs: GOODBYE_MS })
    } catch (err) {
      log.debug({ err }, 'replica not deregistered')
    }
  }
}
