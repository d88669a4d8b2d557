// @FEAT:health-monitoring @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/** The lease covers one long poll, and is renewed for each update. */
const LEASE_MS = 45 * SECOND
/** A lease or a wait that ends later was written before the database's clock was set back. */
const LEASE_LIMIT = '120 seconds'
const WAIT_LIMIT = '61 minutes'
/** After a week without updates Telegram chooses new ids, which may be smaller. It keeps no update for longer than a day. */
const OFFSET_KEPT = '3 days'
/** Telegram keeps updates for a day. */
const KEPT_DAYS = 8
/** Handled updates are counted over this time. */
const RATE_WINDOW = '1 minute'

/** The state of the polling of the cluster, as the database has it. */
export interface PollingState {
  /** The replica that reads the updates; null without one. */
  leasedBy: string | null
  /** Milliseconds since Telegram last answered; null before. */
  pollAgeMs: number | null
  errorCode: string | null
  failingSince: Date | null
}

/** Whether this replica reads the updates, and from which id on; undefined: from the oldest. */
export interface Turn {
  held: boolean
  offset: number | undefined
  /** Consecutive failed polls of the cluster. */
  failures: number
  state: PollingState
}

/** An update that was handled before, or a replica that no longer holds the lease: the transaction is undone. */
export class NotClaimedError extends Error {
  override name = 'NotClaimedError'
  readonly isLeaseLost: boolean

  constructor(isLeaseLost: boolean) {
    super(isLeaseLost ? 'the lease of the polling is lost' : 'the update was handled before')
    this.isLeaseLost = isLeaseLost
  }
}

/** What is known of an update before it is handled. */
export interface Admission {
  isHandled: boolean
  /** Updates of the chat, and of all chats, that were handled in the last minute. */
  ofChat: number
  ofAll: number
  /** The chat was asked to slow down in the last minute. */
  isWarned: boolean
  /** The database's time, in seconds since the epoch. */
  now: number
}

interface StateRow {
  leased_by: string | null
  poll_age_ms: number | null
  error_code: string | null
  failing_since: Date | null
}

interface TurnRow extends StateRow {
  held: boolean
  next_update_id: string | null
  failures: number
}

/**
 * Decides which replica reads the updates of a bot, and records which updates were handled: each of them once, in the
 * transaction of what it changes. The token of a lease is that of this object: the statements of a replica that lost its
 * lease change nothing.
 */
export class PollingStore {
  readonly #database: Database
  readonly #botId: string
  readonly #token: string

  /** @param token a uuid that no other replica uses */
  constructor(database: Database, { botId, token }: { botId: string; token: string }) {
    this.#database = database
    this.#botId = botId
    this.#token = token
  }

  /** Adds the row of the bot. Idempotent. @throws {DatabaseUnavailableError} */
  async register(): Promise<void> {
    await this.#database.run(
      sql => sql`insert into telegram_polling (bot_id) values (${this.#botId}) on conflict do nothing`
    )
  }

  /** Takes or renews the lease where it is free, and reads the state. @throws {DatabaseUnavailableError} */
  async turn(instance: string): Promise<Turn> {
    const [row] = await this.#database.run(
      sql => sql<TurnRow[]>`
        with held as (
          update telegram_polling set leased_by = ${instance}, lease_token = ${this.#token}::uuid,
            leased_until = now() + ${`${LEASE_MS} ms`}::interval
          where bot_id in (
            select bot_id from telegram_polling
            where bot_id = ${this.#botId} and (
              lease_token = ${this.#token}::uuid
              or (not ${isLeased(sql)} and (next_poll_at <= now() or next_poll_at > now() + ${WAIT_LIMIT}::interval))
            )
            for update skip locked
          )
          returning bot_id
        )
        select exists (select from held) as held, failures,
          case when last_update_at > now() - ${OFFSET_KEPT}::interval then next_update_id end as next_update_id,
          ${stateColumns(sql)}
        from telegram_polling where bot_id = ${this.#botId}`
    )
    if (!row) throw new Error('the bot was not registered')
    const { held, failures, next_update_id } = row
    const state = stateOf(row)
    return {
      held,
      offset: next_update_id === null ? undefined : Number(next_update_id),
      failures,
      state: held ? { ...state, leasedBy: instance } : state
    }
  }

  /** Reads the state without the lease; undefined before the first `register`. @throws {DatabaseUnavailableError} */
  async state(): Promise<PollingState | undefined> {
    const [row] = await this.#database.run(
      sql => sql<StateRow[]>`select ${stateColumns(sql)} from telegram_polling where bot_id = ${this.#botId}`
    )
    return row && stateOf(row)
  }

  /** Records that Telegram answered. @throws {DatabaseUnavailableError} */
  async recordAnswer(): Promise<void> {
    await this.#database.run(
      sql => sql`
        update telegram_polling set last_poll_at = now(), error_code = null, failing_since = null, failures = 0
        where ${this.#isOwn(sql)}`
    )
  }

  /** Records that Telegram need not send the updates up to this one again. @throws {DatabaseUnavailableError} */
  async recordOffset(updateId: number): Promise<void> {
    await this.#database.run(
      sql => sql`
        update telegram_polling set next_update_id = ${updateId + 1}::bigint, last_update_at = now()
        where ${this.#isOwn(sql)}`
    )
  }

  /**
   * Ends the lease, so that another replica may poll.
   * @param failure why the poll failed, and how long no replica polls
   * @throws {DatabaseUnavailableError}
   */
  async release(failure?: { code: string; waitMs: number }): Promise<void> {
    await this.#database.run(sql =>
      failure === undefined
        ? sql`
            update telegram_polling set leased_by = null, lease_token = null, leased_until = null
            where ${this.#isOwn(sql)}`
        : sql`
            update telegram_polling set leased_by = null, lease_token = null, leased_until = null,
              error_code = ${failure.code}, failing_since = coalesce(failing_since, now()), failures = failures + 1,
              next_poll_at = now() + ${`${Math.round(failure.waitMs)} ms`}::interval
            where ${this.#isOwn(sql)}`
    )
  }

  /** Reads what decides whether an update is handled. @throws {DatabaseUnavailableError} */
  async admission(updateId: number, chatId: string): Promise<Admission> {
    const [row] = await this.#database.run(
      sql => sql<Admission[]>`
        select exists (
            select from telegram_updates where bot_id = ${this.#botId} and update_id = ${updateId}::bigint
          ) as "isHandled",
          count(*) filter (where chat_id = ${chatId})::int as "ofChat", count(*)::int as "ofAll",
          coalesce(bool_or(chat_id = ${chatId} and outcome = 'throttled'), false) as "isWarned",
          extract(epoch from now())::float8 as now
        from telegram_updates where handled_at > now() - ${RATE_WINDOW}::interval and handled_at <= now()`
    )
    if (!row) throw new Error('a select without a row')
    return row
  }

  /**
   * Claims an update in the transaction of what it changes, and renews the lease.
   * @throws {NotClaimedError}
   */
  async claim(tx: TransactionSql, updateId: number, { chatId, outcome }: { chatId: string; outcome: string }) {
    const [row] = await tx<{ held: boolean; fresh: boolean }[]>`
      with own as (
        update telegram_polling set next_update_id = ${updateId + 1}::bigint, last_update_at = now(),
          leased_until = now() + ${`${LEASE_MS} ms`}::interval
        where ${this.#isOwn(tx)} and ${isLeased(tx)}
        returning bot_id
      ), added as (
        insert into telegram_updates (bot_id, update_id, chat_id, outcome)
        select bot_id, ${updateId}::bigint, ${chatId}, ${outcome} from own on conflict do nothing returning bot_id
      )
      select exists (select from own) as held, exists (select from added) as fresh`
    if (!row?.held || !row.fresh) throw new NotClaimedError(!row?.held)
  }

  #isOwn(sql: Sql | TransactionSql) {
    return sql`bot_id = ${this.#botId} and lease_token = ${this.#token}::uuid`
  }
}

function stateColumns(sql: Sql) {
  return sql`case when ${isLeased(sql)} then leased_by end as leased_by,
    (extract(epoch from now() - last_poll_at) * 1000)::float8 as poll_age_ms, error_code, failing_since`
}

function stateOf({ leased_by, poll_age_ms, error_code, failing_since }: StateRow): PollingState {
  return {
    leasedBy: leased_by,
    pollAgeMs: poll_age_ms === null ? null : Math.max(0, Math.round(poll_age_ms)),
    errorCode: error_code,
    failingSince: failing_since
  }
}

/** Whether a replica holds the lease. */
function isLeased(sql: Sql | TransactionSql) {
  return sql`(leased_until is not null and leased_until > now() and leased_until <= now() + ${LEASE_LIMIT}::interval)`
}

/** Deletes up to `limit` handled updates older than 8 days. Idempotent. @returns the number of deleted rows */
export async function sweepUpdates(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from telegram_updates where (bot_id, update_id) in (
      select bot_id, update_id from telegram_updates
      where handled_at < now() - make_interval(days => ${KEPT_DAYS}::int)
      order by handled_at limit ${limit} for update skip locked
    )`
  return count
}
