// @FEAT:price-cache @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { sleep, systemTimers } from '../async/timers.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import { recordAppliedCommand, respondingReplicas } from '../replicas/replica-table.ts'

const CHANNEL = 'cache_commands'
/**
 * Behind a transaction-pooling pgbouncer no notification arrives: then the poll limits the delay of a command. With
 * notifications, the poll finds out when they stop.
 */
const INTERVALS: PollIntervals = { withoutNotificationsMs: 2 * SECOND, withNotificationsMs: 20 * SECOND }
const ACKNOWLEDGED_WITHIN_MS = SECOND
const ACKNOWLEDGEMENT_INTERVAL_MS = 40
const BATCH = 100
const KEPT = '1 day'

/** The entries to clear: every given part must match; only the empty filter means all entries. Names in capitals. */
export interface ClearFilter {
  exchange?: ExchangeName | undefined
  market_type?: MarketType | undefined
  symbol?: string | undefined
  type: 'price' | 'exchange' | 'all'
  /** Only count. */
  dry_run: boolean
}

/** The number of entries that were removed, or would be. */
interface Cleared {
  price: number
  exchange: number
}

export interface ClearedEverywhere {
  cleared: Cleared
  replicas: { acknowledged: number; total: number }
}

/** The wait between two polls of the commands, in milliseconds. */
export interface PollIntervals {
  withoutNotificationsMs: number
  withNotificationsMs: number
}

export interface ClearCommandsOptions {
  database: Database
  /** The name of this replica. */
  instanceId: () => string
  applicationName: string
  log: Log
  /** Clears the caches of this replica. */
  clear: (filter: ClearFilter) => Cleared
  /** Default 2 s and 20 s. */
  intervals?: PollIntervals | undefined
  /** Longest wait for the replicas to acknowledge a command, in milliseconds. Default 1 s. */
  acknowledgedWithinMs?: number | undefined
}

interface Command {
  command_id: string
  filter: ClearFilter
}

/**
 * Clears the caches of the whole cluster: numbered commands in a table. Each replica applies them in order, once, and
 * acknowledges them. A replica that was suspended applies them when it continues. A new one has empty caches and starts
 * after the newest command.
 */
export class ClearCommands {
  readonly #options: ClearCommandsOptions
  readonly #poller: Poller
  #appliedId: string | undefined
  #listener: Listener | undefined
  #receivesNotifications = false
  /** A notification or a caller asked for the next poll. */
  #isRequested = false
  #closed = false

  constructor(options: ClearCommandsOptions) {
    this.#options = options
    this.#poller = new Poller({
      poll: signal => this.#applyNew(signal),
      intervalMs: this.#intervals.withoutNotificationsMs,
      log: options.log,
      failedMessage: 'cache commands not polled',
      recoveredMessage: 'cache commands polled again',
      onRecovered: () => this.#listener?.restart()
    })
  }

  /** Starts to apply commands; call it when the schema exists. Idempotent. @throws {DatabaseUnavailableError} */
  async start(): Promise<void> {
    const { database, applicationName, log } = this.#options
    const [newest] = await database.run(
      sql => sql<{ id: string }[]>`select coalesce(max(command_id), 0) as id from cache_commands`
    )
    this.#appliedId ??= newest?.id ?? '0'
    const url = await database.address
    if (this.#closed || this.#listener) return
    this.#listener = new Listener({
      url,
      channel: CHANNEL,
      applicationName,
      log,
      onNotification: () => this.#onNotification(),
      listening: () => void this.#testNotifications()
    })
    this.#listener.restart()
    this.#poller.start(this.#intervals.withoutNotificationsMs)
  }

  /**
   * Clears in the whole cluster, and waits `acknowledgedWithinMs` at most for the replicas to acknowledge it.
   * @param also further statements in the transaction of the command. They run first, and lock nothing that another
   * transaction waits for
   * @throws {DatabaseUnavailableError}
   */
  async request(
    filter: ClearFilter,
    actor: string,
    also: (tx: TransactionSql) => Promise<void>
  ): Promise<ClearedEverywhere> {
    const { acknowledgedWithinMs = ACKNOWLEDGED_WITHIN_MS } = this.#options
    const commandId = await this.#insert(filter, actor, also)
    const endMs = performance.now() + acknowledgedWithinMs
    await this.poll()
    for (;;) {
      const answer = await this.#acknowledgements(commandId)
      const { acknowledged, total } = answer.replicas
      if (acknowledged >= total || performance.now() >= endMs) return answer
      await sleep(systemTimers, ACKNOWLEDGEMENT_INTERVAL_MS)
    }
  }

  /** Applies all new commands now. Never rejects. */
  poll(): Promise<void> {
    this.#isRequested = true
    return this.#poller.kick()
  }

  /** Whether notifications arrive, as far as is known. */
  get receivesNotifications(): boolean {
    return this.#receivesNotifications
  }

  /** Ends the polls and closes the connection. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const ended = this.#poller.stop()
    this.#listener?.close()
    await ended
  }

  get #intervals(): PollIntervals {
    return this.#options.intervals ?? INTERVALS
  }

  #insert(filter: ClearFilter, actor: string, also: (tx: TransactionSql) => Promise<void>): Promise<string> {
    return this.#options.database.transaction(async tx => {
      await also(tx)
      // A number is assigned before its row is visible: without the lock a replica could skip a command. The lock is taken
      // last, so that it is held for one network round trip.
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
  }

  async #acknowledgements(commandId: string): Promise<ClearedEverywhere> {
    const { database, instanceId } = this.#options
    const [sums] = await database.run(
      sql => sql<{ price: string; exchange: string; acknowledged: string; total: string }[]>`
        select coalesce(sum(r.price), 0) as price, coalesce(sum(r.exchange), 0) as exchange,
          count(r.instance_id) as acknowledged, count(*) as total
        from ${respondingReplicas(sql, instanceId())} replica
        left join cache_command_results r on r.instance_id = replica.instance_id and r.command_id = ${commandId}`
    )
    return {
      cleared: { price: Number(sums?.price), exchange: Number(sums?.exchange) },
      replicas: { acknowledged: Number(sums?.acknowledged), total: Number(sums?.total) }
    }
  }

  #onNotification(): void {
    this.#receivesNotifications = true
    void this.poll()
  }

  /** A LISTEN that succeeds does not mean that notifications arrive: see `INTERVALS`. */
  async #testNotifications(): Promise<void> {
    this.#receivesNotifications = false
    try {
      await this.#options.database.run(sql => sql`select pg_notify(${CHANNEL}, '')`)
    } catch (err) {
      this.#options.log.debug({ err }, 'cache notification not tested')
    }
  }

  /** @returns the wait before the next poll, in milliseconds */
  async #applyNew(signal: AbortSignal): Promise<number | undefined> {
    if (this.#appliedId === undefined) return undefined
    const isRequested = this.#isRequested
    this.#isRequested = false
    const before = this.#appliedId
    while ((await this.#applyBatch(this.#appliedId)) === BATCH && !signal.aborted);
    // A request that came during the poll may be the notification of what the poll found.
    if (this.#receivesNotifications && !isRequested && !this.#isRequested && this.#appliedId !== before) {
      this.#options.log.debug({ command_id: this.#appliedId }, 'cache command without notification')
      this.#receivesNotifications = false
      this.#listener?.restart()
    }
    const { withNotificationsMs, withoutNotificationsMs } = this.#intervals
    return this.#receivesNotifications ? withNotificationsMs : withoutNotificationsMs
  }

  async #applyBatch(afterId: string): Promise<number> {
    const { database, instanceId, clear, log } = this.#options
    const commands = await database.run(
      sql => sql<Command[]>`
        select command_id, filter from cache_commands where command_id > ${afterId} order by command_id limit ${BATCH}`
    )
    for (const { command_id, filter } of commands) {
      const cleared = clear(filter)
      // Before the acknowledgement, which may fail: the command must not be applied again to newer entries.
      this.#appliedId = command_id
      log.info({ command_id, ...filter, cleared }, 'caches cleared')
      await database.run(
        sql => sql`
          insert into cache_command_results (command_id, instance_id, price, exchange)
          values (${command_id}, ${instanceId()}, ${cleared.price}, ${cleared.exchange})
          on conflict do nothing`
      )
      await database.run(sql => recordAppliedCommand(sql, instanceId(), command_id))
    }
    return commands.length
  }
}

/** Deletes up to `limit` commands older than a day: no cache entry is that old. Idempotent. @returns the number of deleted rows */
export async function sweepCacheCommands(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from cache_commands where command_id in (
      select command_id from cache_commands where at < now() - ${KEPT}::interval order by command_id limit ${limit}
      for update skip locked
    )`
  return count
}
