// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import type { OrderSide } from '../domain/order.ts'
import type { PositionSide } from '../domain/position.ts'
import { anyOf } from './any-of.ts'
import { CUMULATIVE, isDifference, type NewExecution, type RecordedExecution } from './fill-comparison.ts'
import { groupedBy } from './grouped.ts'
import { FILLS_PER_TRANSACTION, firstPortion } from './order-portions.ts'
import { type KnownOrder, MISSES_UNTIL_UNKNOWN, type OrderAnswer, reconcile } from './order-reconciliation.ts'
import { type ChangedOrder, MAX_FILL_RETRIES, writeChanges } from './order-writes.ts'
import { feeValueOf } from './position-accounting.ts'
import { type BookedPosition, bookEntries, type Entry } from './position-ledger.ts'

/** Pause before an `unknown` order is queried again, in seconds: doubled each time, from the first value to the last. */
const UNKNOWN_FIRST_SECONDS = 60
const UNKNOWN_LAST_SECONDS = 6 * 60 * 60

/** Ended orders whose fills one query selects to replace differences; bounds what they cost a run. */
const RETRIED_PER_READ = 100

/** An order, with its pair, and the answer of its exchange. */
export interface AnsweredOrder {
  order: KnownOrder
  answer: OrderAnswer
}

/** What one transaction wrote, in counts. */
export interface Written {
  /** Orders whose state, filled quantity or flag was written. */
  changed: number
  /** Orders that did not change: they had already ended, or the answer was older than what is recorded. */
  skipped: number
  /** Executions recorded. */
  fills: number
  /** Orders that the exchange does not know, after so many misses. */
  unknown: number
  /** Orders whose fills the exchange does not return yet. */
  waiting: number
  /** Orders whose answer cannot be booked: only an error code was recorded. */
  flagged: number
  /** Recorded executions whose fee is not known in the quote currency. */
  feesUnknown: number
  /** Spot positions below zero: more was sold than was recorded as bought. */
  oversold: number
}

/** What one transaction wrote, and the orders whose answer must be recorded again, because it has more. */
export interface Recorded {
  written: Written
  unfinished: AnsweredOrder[]
}

/** The current price of an asset in a quote currency; null when it is unknown. */
export type PriceOf = (asset: string, quote: string) => Decimal | null

/** Orders, executions and positions in the database. */
export class OrderStore {
  readonly #database: Database
  readonly #fillsPerTransaction: number

  /** @param fillsPerTransaction executions and corrections of one order that one transaction records */
  constructor(database: Database, fillsPerTransaction = FILLS_PER_TRANSACTION) {
    this.#database = database
    this.#fillsPerTransaction = fillsPerTransaction
  }

  /** Those of the accounts that have orders to be checked, the longest unchecked first. */
  async accountsToCheck(accountIds: readonly string[]): Promise<string[]> {
    if (accountIds.length === 0) return []
    const rows = await this.#database.run(
      sql => sql<{ account_id: string }[]>`
        select o.account_id from orders o
        where o.account_id = ${anyOf(sql, accountIds)} and o.exchange_order_id is not null
          and (${isUnfinished(sql)} or ${hasFillsDue(sql)})
        group by o.account_id order by min(coalesce(o.last_checked_at, '-infinity')), o.account_id`
    )
    return rows.map(({ account_id }) => account_id)
  }

  /**
   * The orders of the accounts that are to be checked: unfinished, known by an id at their exchange, and due. Ended orders
   * follow whose fills are due to replace a difference, the longest due first, a bounded number. Their pair is the
   * recorded one.
   */
  async ordersToCheck(accountIds: readonly string[]): Promise<KnownOrder[]> {
    const rows = await this.#database.run(
      sql => sql<OrderRow[]>`
        select ${orderColumns(sql)}, coalesce(recorded.quantity, 0) as recorded_quantity,
          coalesce(recorded.is_cumulative, false) as is_cumulative
        from orders o cross join lateral (
          select sum(case when e.side = o.side then quantity else -quantity end) as quantity, bool_or(starts_with(exchange_trade_id, ${CUMULATIVE})) as is_cumulative
          from trade_executions e where e.order_id = o.order_id
        ) recorded
        where o.order_id in (
          select order_id from orders o
          where o.account_id = ${anyOf(sql, accountIds)} and o.exchange_order_id is not null and ${isUnfinished(sql)}
          union all (
            select order_id from orders o
            where o.account_id = ${anyOf(sql, accountIds)} and o.exchange_order_id is not null
              and ${hasFillsDue(sql)} and o.status in ('filled', 'canceled', 'rejected', 'expired')
            order by fills_due_at limit ${RETRIED_PER_READ}
          )
        )
        order by o.order_id`
    )
    return rows.map(row => orderOf(row, row.recorded_quantity, row.is_cumulative))
  }

  /** Records that orders were checked and had not changed. */
  async checked(tx: TransactionSql, orderIds: readonly string[]): Promise<void> {
    await tx`
      with checked as (
        select order_id from orders where order_id = ${anyOf(tx, orderIds)} order by order_id for no key update
      )
      update orders o set last_checked_at = now() from checked where o.order_id = checked.order_id`
  }

  /**
   * Writes the exchange's state to the orders, their executions and their positions, in a fixed number of statements.
   * The rows are locked and read again first, so that the changes of other writers are included. Idempotent.
   *
   * A position is computed from its executions in the order of (executed_at, trade id). An execution that is recorded late
   * is inserted at its place, and the executions after it are computed again.
   *
   * Of an order with more executions than one transaction can record, the first portion is written.
   */
  async record(tx: TransactionSql, seen: readonly AnsweredOrder[], priceOf: PriceOf): Promise<Recorded> {
    const answers = new Map(seen.map(one => [one.order.orderId, one]))
    const changes: ChangedOrder[] = []
    const entries: Entry[] = []
    const unfinished = new Map<string, AnsweredOrder>()
    for (const { order: locked, recorded } of await lockedOrders(tx, [...answers.keys()])) {
      const found = answers.get(locked.orderId)
      if (found === undefined) continue
      const order = { ...locked, pair: found.order.pair }
      const decision = reconcile(order, recorded, found.answer)
      if (decision.kind !== 'applied') continue
      const portion = firstPortion(order, recorded, decision, this.#fillsPerTransaction)
      if (portion !== null) unfinished.set(order.orderId, found)
      const { executions, corrections, removed, change } = portion ?? decision
      changes.push({ order, change })
      const deleted = removed.map(execution => ({ ...execution, isRemoved: true }))
      entries.push(...entriesOf(order, [...executions, ...corrections, ...deleted], priceOf))
    }
    const positions = entries.length === 0 ? [] : await bookEntries(tx, entries)
    if (changes.length > 0) await writeChanges(tx, changes, positions)
    const skipped = seen.length - changes.length
    // The difference that remains of a portion is replaced by the next one.
    const fresh = entries.filter(
      entry => entry.executionId === null && !(unfinished.has(entry.orderId) && isDifference(entry))
    )
    const finished = changes.filter(({ order }) => !unfinished.has(order.orderId))
    const held = unfinished.size > 0 ? [] : positions
    return { written: { skipped, ...countsOf(finished, fresh, held) }, unfinished: [...unfinished.values()] }
  }
}

function countsOf(
  changes: readonly ChangedOrder[],
  fresh: readonly Entry[],
  positions: readonly BookedPosition[]
): Omit<Written, 'skipped'> {
  return {
    changed: changes.length,
    fills: fresh.length,
    unknown: changes.filter(({ change }) => change.status === 'unknown').length,
    waiting: changes.filter(({ change }) => change.fillChecks > 0).length,
    flagged: changes.filter(({ change }) => change.errorCode !== null && change.misses === 0).length,
    feesUnknown: fresh.filter(({ feeValue }) => feeValue === null).length,
    oversold: positions.filter(({ key, holding }) => key.marketType === 'SPOT' && holding.quantity.lt(0)).length
  }
}

function entriesOf(
  order: KnownOrder,
  executions: readonly ((NewExecution | RecordedExecution) & { isRemoved?: boolean })[],
  priceOf: PriceOf
): Entry[] {
  if (executions.length === 0) return []
  const { orderId, accountId, strategyAccountId, marketType, symbol, positionSide, pair } = order
  if (pair === null) throw new Error(`base and quote of order ${orderId} are not known`)
  return executions.map(execution => ({
    executionId: null,
    ...execution,
    ...{ orderId, accountId, strategyAccountId, marketType, symbol, positionSide, pair },
    feeValue: feeValueOf(execution, pair, asset => priceOf(asset, pair.quote))
  }))
}

interface OrderRow {
  order_id: string
  strategy_account_id: string | null
  account_id: string
  market_type: MarketType
  exchange_order_id: string
  symbol: string
  exchange_symbol: string
  base: string | null
  quote: string | null
  side: OrderSide
  position_side: PositionSide
  order_type: string
  status: KnownOrder['status']
  created_at: Date
  last_checked_at: Date | null
  misses: number
  fill_checks: number
  mismatch: string | null
  mismatch_checks: number
  fill_retries: number
  fills_due: boolean
  recorded_quantity: Decimal
  is_cumulative: boolean
}

type AnySql = Sql | TransactionSql

/** Whether it is time to read the fills of an order again, to replace a difference. */
function hasFillsDue(sql: AnySql) {
  return sql`o.fills_due_at <= now()`
}

function isUnfinished(sql: AnySql) {
  return sql`
    o.status in ('pending', 'open', 'partially_filled', 'unknown')
    and (o.status <> 'unknown' or o.last_checked_at is null or o.last_checked_at > now() + interval '1 minute' or o.last_checked_at < now() - make_interval(secs => least(
      ${UNKNOWN_FIRST_SECONDS} * 2 ^ least(greatest(o.misses - ${MISSES_UNTIL_UNKNOWN}::int, 0), 20), ${UNKNOWN_LAST_SECONDS}
    )))`
}

function orderColumns(sql: AnySql) {
  return sql`
    o.order_id, o.strategy_account_id, o.account_id, o.market_type, o.exchange_order_id, o.symbol, o.exchange_symbol,
    o.base, o.quote, o.side, o.position_side, o.order_type, o.status, o.created_at, o.last_checked_at, o.misses,
    o.fill_checks, o.mismatch, o.mismatch_checks, o.fill_retries,
    o.fill_retries < ${MAX_FILL_RETRIES} and coalesce(o.fills_due_at <= now(), true) as fills_due`
}

function orderOf(row: Omit<OrderRow, 'recorded_quantity' | 'is_cumulative'>, recorded: Decimal, isCumulative: boolean) {
  const order: KnownOrder = {
    orderId: row.order_id,
    strategyAccountId: row.strategy_account_id,
    accountId: row.account_id,
    marketType: row.market_type,
    exchangeOrderId: row.exchange_order_id,
    symbol: row.symbol,
    exchangeSymbol: row.exchange_symbol,
    base: row.base,
    quote: row.quote,
    pair: row.base === null || row.quote === null ? null : { symbol: row.symbol, base: row.base, quote: row.quote },
    side: row.side,
    positionSide: row.position_side,
    orderType: row.order_type,
    status: row.status,
    createdAt: row.created_at.getTime(),
    checkedAt: row.last_checked_at?.getTime() ?? null,
    misses: row.misses,
    fillChecks: row.fill_checks,
    mismatch: row.mismatch,
    mismatchChecks: row.mismatch_checks,
    recordedQuantity: recorded,
    isCumulative,
    fillRetries: row.fill_retries,
    fillsDue: row.fills_due
  }
  return order
}

interface ExecutionRow {
  order_id: string
  execution_id: string
  exchange_trade_id: string
  side: OrderSide
  price: Decimal
  quantity: Decimal
  fee: Decimal
  fee_asset: string | null
  executed_at: Date
  exchange_realized_pnl: Decimal | null
}

/** Locks the rows of orders, in the order of their ids, and reads them with their executions. */
async function lockedOrders(
  tx: TransactionSql,
  orderIds: readonly string[]
): Promise<{ order: KnownOrder; recorded: RecordedExecution[] }[]> {
  // Sent together and executed in sequence: the second statement sees what was committed before the rows were locked.
  const [rows, executions] = await Promise.all([
    tx<Omit<OrderRow, 'recorded_quantity' | 'is_cumulative'>[]>`
      select ${orderColumns(tx)} from orders o where o.order_id = ${anyOf(tx, orderIds)} order by o.order_id
      for no key update`,
    tx<ExecutionRow[]>`
      select order_id, execution_id, exchange_trade_id, side, price, quantity, fee, fee_asset, executed_at,
        exchange_realized_pnl
      from trade_executions where order_id = ${anyOf(tx, orderIds)} order by execution_id`
  ])
  const byOrder = groupedBy(executions, ({ order_id }) => order_id)
  return rows.map(row => {
    const recorded = (byOrder.get(row.order_id) ?? []).map(recordedOf)
    const quantity = recorded
      .reduce((sum, one) => (one.side === row.side ? sum.plus(one.quantity) : sum.minus(one.quantity)), new Exact(0))
      .toFixed()
    const isCumulative = recorded.some(isDifference)
    return { order: orderOf(row, quantity, isCumulative), recorded }
  })
}

function recordedOf(row: ExecutionRow): RecordedExecution {
  return {
    executionId: row.execution_id,
    exchangeTradeId: row.exchange_trade_id,
    side: row.side,
    price: row.price,
    quantity: row.quantity,
    fee: row.fee,
    feeAsset: row.fee_asset,
    executedAt: row.executed_at,
    ...(row.exchange_realized_pnl !== null && { exchangePnl: row.exchange_realized_pnl })
  }
}
