// @FEAT:price-cache @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import { recordAppliedCommand, respondingReplicas } from '../replicas/replica-table.ts'

const CHANNEL = 'cache_commands'
/**
 * How often a replica looks for commands unasked. Behind a transaction-pooling pgbouncer nothing is heard: then a
 * command is obeyed so much later at most. One that hears looks in case it no longer does.
 */
const LOOK_MS = { deaf: 2_000, hearing: 20_000 }
const ACKNOWLEDGED_WITHIN_MS = 1_000
const ASK_AGAIN_MS = 40
const BATCH = 100
const KEPT = '1 day'

/** What is to be cleared: every part must fit; nothing but the empty filter means everything. Names in capitals. */
export interface ClearFilter {
  exchange?: ExchangeName | undefined
  market_type?: MarketType | undefined
  symbol?: string | undefined
  type: 'price' | 'exchange' | 'all'
  /** Only count. */
  dry_run: boolean
}

/** How many entries were dropped, or would be. */
export interface Cleared {
  price: number
  exchange: number
}

export interface ClearedEverywhere {
  cleared: Cleared
  replicas: { acknowledged: number; total: number }
}

export interface ClearCommandsOptions {
  database: Database
  instanceId: string
  applicationName: string
  log: Log
  /** Clears the caches of this replica. */
  clear: (filter: ClearFilter) => Cleared
  /** Default 2 s and 20 s. */
  lookMs?: { deaf: number; hearing: number } | undefined
  /** Longest wait for the replicas to acknowledge a command, in milliseconds. Default 1 s. */
  acknowledgedWithinMs?: number | undefined
}

/**
 * Clears of the caches in the whole cluster: numbered commands in a table that each replica obeys in their order, once,
 * and acknowledges. A replica that sleeps obeys when it wakes; a new one starts with empty caches at the newest command.
 */
export class ClearCommands {
  readonly #options: ClearCommandsOptions
  #seen: string | undefined
  #listener: Listener | undefined
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #lookAgain = false
  #hears = false
  #failing = false
  #closed = false

  constructor(options: ClearCommandsOptions) {
    this.#options = options
  }

  /** Begins to obey; call it when the schema is there. Idempotent. */
  async start(): Promise<void> {
    const { database, applicationName, log } = this.#options
    const [newest] = await database.run(
      sql => sql<{ id: string }[]>`select coalesce(max(command_id), 0) as id from cache_commands`
    )
    this.#seen ??= newest?.id ?? '0'
    const url = await database.address
    if (this.#closed || this.#listener) return
    this.#listener = new Listener({
      url,
      channel: CHANNEL,
      applicationName,
      log,
      heard: () => this.#hear(),
      listening: () => void this.#tryToHear()
    })
    this.#listener.restart()
    this.#lookUnasked()
  }

  /**
   * Clears in the whole cluster, and waits `acknowledgedWithinMs` at most for the replicas to acknowledge it.
   * @param also what else belongs to the transaction of the command. It runs first, and locks nothing that another
   * transaction waits for
   * @throws {DatabaseUnavailableError}
   */
  async request(
    filter: ClearFilter,
    actor: string,
    also: (tx: TransactionSql) => Promise<void>
  ): Promise<ClearedEverywhere> {
    const { database, instanceId, acknowledgedWithinMs = ACKNOWLEDGED_WITHIN_MS } = this.#options
    const id = await database.transaction(async tx => {
      await also(tx)
      // A number is assigned before its row is visible: without the lock a replica could skip a command. It is taken last,
      // so that it is held for one network round trip.
      const [command] = await tx<{ command_id: string }[]>`
        with locked as materialized (
          select pg_advisory_xact_lock(hashtext(${CHANNEL}))
        ), command as (
          insert into cache_commands (actor, filter)
          select ${actor}, ${JSON.stringify(filter)}::text::jsonb from locked returning command_id
        )
        select command_id, pg_notify(${CHANNEL}, '') from command`
      return command?.command_id ?? ''
    })
    const deadline = performance.now() + acknowledgedWithinMs
    await this.look()
    for (;;) {
      const [told] = await database.run(
        sql => sql<{ price: string; exchange: string; acknowledged: string; total: string }[]>`
          select coalesce(sum(r.price), 0) as price, coalesce(sum(r.exchange), 0) as exchange,
            count(r.instance_id) as acknowledged, count(*) as total
          from ${respondingReplicas(sql, instanceId)} alive
          left join cache_command_results r on r.instance_id = alive.instance_id and r.command_id = ${id}`
      )
      const answer = {
        cleared: { price: Number(told?.price), exchange: Number(told?.exchange) },
        replicas: { acknowledged: Number(told?.acknowledged), total: Number(told?.total) }
      }
      if (answer.replicas.acknowledged >= answer.replicas.total || performance.now() >= deadline) return answer
      await pause(ASK_AGAIN_MS)
    }
  }

  /** Obeys what is new. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) {
      this.#lookAgain = true
      return this.#looking
    }
    this.#looking = this.#obey().finally(() => {
      this.#looking = undefined
    })
    await this.#looking
    if (!this.#lookAgain || this.#closed) return
    this.#lookAgain = false
    await this.look()
  }

  /** Whether notifications arrive, as far as it has been seen. */
  get hears(): boolean {
    return this.#hears
  }

  #hear(): void {
    this.#hears = true
    void this.look()
  }

  /** That one listens does not mean that one hears: see `LOOK_MS`. */
  async #tryToHear(): Promise<void> {
    this.#hears = false
    try {
      await this.#options.database.run(sql => sql`select pg_notify(${CHANNEL}, '')`)
    } catch (err) {
      this.#options.log.debug({ err }, 'cache notification not tested')
    }
  }

  #lookUnasked(): void {
    if (this.#closed) return
    const { deaf, hearing } = this.#options.lookMs ?? LOOK_MS
    this.#timer = setTimeout(
      async () => {
        const seen = this.#seen
        await this.look()
        if (this.#hears && this.#seen !== seen) {
          this.#options.log.debug({ command_id: this.#seen }, 'cache command without notification')
          this.#hears = false
          this.#listener?.restart()
        }
        this.#lookUnasked()
      },
      this.#hears ? hearing : deaf
    ).unref()
  }

  /** Releases timer and connection. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#listener?.close()
    await this.#looking
  }

  async #obey(): Promise<void> {
    const { database, instanceId, clear, log } = this.#options
    if (this.#seen === undefined || this.#closed) return
    try {
      const commands = await database.run(
        sql => sql<{ command_id: string; filter: ClearFilter }[]>`
          select command_id, filter from cache_commands where command_id > ${this.#seen ?? '0'}
          order by command_id limit ${BATCH}`
      )
      if (this.#failing) this.#listener?.restart()
      this.#failing = false
      for (const { command_id, filter } of commands) {
        const cleared = clear(filter)
        // Whatever becomes of the acknowledgement: it is done, and must not be done again to what comes after it.
        this.#seen = command_id
        log.info({ command_id, ...filter, cleared }, 'caches cleared')
        await database.run(
          sql => sql`
            insert into cache_command_results (command_id, instance_id, price, exchange)
            values (${command_id}, ${instanceId}, ${cleared.price}, ${cleared.exchange})
            on conflict do nothing`
        )
        await database.run(sql => recordAppliedCommand(sql, instanceId, command_id))
      }
      if (commands.length === BATCH) this.#lookAgain = true
    } catch (err) {
      if (!this.#failing) log.warn({ err }, 'cache commands not polled')
      this.#failing = true
    }
  }
}

/** Deletes up to `limit` commands older than a day: no cache entry is that old. Idempotent. @returns how many */
export async function sweepCacheCommands(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from cache_commands where command_id in (
      select command_id from cache_commands where at < now() - ${KEPT}::interval order by command_id limit ${limit}
      for update skip locked
    )`
  return count
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
