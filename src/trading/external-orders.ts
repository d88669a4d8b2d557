// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import { Exact } from '../domain/decimal.ts'
import type { Fill } from '../domain/fill.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { UnifiedOrder } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'
import { CUMULATIVE } from './fill-comparison.ts'
import type { KnownOrder } from './order-reconciliation.ts'
import type { AnsweredOrder } from './order-store.ts'

/** An order that the order-entry side did not record. */
export interface ExternalOrder {
  accountId: string
  marketType: MarketType
  /** Base and quote by the exchange; null while they are not known: then nothing is booked yet. */
  pair: Pair | null
  origin: 'external' | 'forced'
  order: UnifiedOrder
  fills: readonly Fill[]
  /** When the exchange was read. */
  at: Millis
}

/** The type of an order that is known by its fills alone. */
const ORDER_OF_FILLS = 'UNKNOWN'

/**
 * SQL expression: whether the recorded order `o` is known by its fills alone: its exchange did not return it, or a part of
 * it was traded before the opening. No check of orders finds what it trades later.
 */
export function isOfFills(tx: TransactionSql) {
  return tx`(
    o.origin <> 'own' and o.order_type = ${ORDER_OF_FILLS} and o.status = 'filled' and not exists (
      select from trade_executions e where e.order_id = o.order_id and starts_with(e.exchange_trade_id, ${CUMULATIVE})
    )
  )`
}

/** The state of an order that its exchange does not return (any more), by its fills. At least one. */
export function orderOfFills(fills: readonly [Fill, ...Fill[]]): UnifiedOrder {
  const [first] = fills
  const last = fills.at(-1) ?? first
  const quantity = fills.reduce((sum, fill) => sum.plus(fill.quantity), new Exact(0))
  const cost = fills.reduce((sum, fill) => sum.plus(new Exact(fill.price).times(fill.quantity)), new Exact(0))
  return {
    exchangeOrderId: first.exchangeOrderId,
    clientOrderId: null,
    symbol: first.symbol,
    exchangeSymbol: first.exchangeSymbol,
    side: first.side,
    positionSide: first.positionSide,
    orderType: ORDER_OF_FILLS,
    price: null,
    stopPrice: null,
    quantity: quantity.toFixed(),
    filledQuantity: quantity.toFixed(),
    averagePrice: quantity.eq(0) ? null : cost.div(quantity).toFixed(),
    status: 'filled',
    createdAt: first.executedAt,
    updatedAt: last.executedAt
  }
}

/**
 * Inserts an external order, unless an order with its id is recorded; one of fills is continued by its later fills. It
 * belongs to the strategy that holds the position: of several, to the one with the largest position that the order
 * reduces, else with the largest one. Without a strategy it belongs to the account itself. Call it under `lockOrderEntry`. Idempotent.
 *
 * @returns the order with its answer, to be recorded in the same transaction; null when that was recorded before
 */
export async function insertExternalOrder(tx: TransactionSql, external: ExternalOrder): Promise<AnsweredOrder | null> {
  const { accountId, marketType, pair, origin, order, fills, at } = external
  const { exchangeOrderId, symbol, exchangeSymbol, side, positionSide, orderType } = order
  const createdAt = order.createdAt ?? fills[0]?.executedAt ?? at
  const held = tx`market_type = ${marketType} and symbol = ${symbol} and position_side = ${positionSide}`
  const [row] = await tx<{ order_id: string; strategy_account_id: string | null }[]>`
    insert into orders (
      strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, base, quote, origin, side,
      position_side, order_type, price, stop_price, quantity, status, created_at
    )
    select (
        select strategy_account_id from strategy_positions
        where holder_account_id = ${accountId} and strategy_account_id is not null and quantity <> 0 and ${held}
        order by (quantity > 0) = ${side === 'SELL'} desc, abs(quantity) desc, strategy_account_id limit 1
      ), ${accountId}, ${marketType}, ${exchangeOrderId}, ${symbol}, ${exchangeSymbol}, ${pair?.base ?? null},
      ${pair?.quote ?? null}, ${origin}, ${side}, ${positionSide}, ${orderType}, ${order.price}, ${order.stopPrice},
      ${quantityOf(external)}, 'open', ${new Date(createdAt)}
    on conflict (account_id, market_type, exchange_symbol, exchange_order_id) do nothing
    returning order_id, strategy_account_id`
  if (row === undefined) return await continued(tx, external)
  return { order: openedOrder(external, { ...row, createdAt }), answer: { kind: 'found', order, fills, at } }
}

/** A recorded order of fills that has traded more since: it is open again, until its new fills are recorded. */
async function continued(tx: TransactionSql, external: ExternalOrder): Promise<AnsweredOrder | null> {
  const { accountId, marketType, order, fills, at } = external
  const [row] = await tx<
    { order_id: string; strategy_account_id: string | null; filled_quantity: string; created_at: Date }[]
  >`
    select order_id, strategy_account_id, filled_quantity::text as filled_quantity, created_at from orders o
    where account_id = ${accountId} and market_type = ${marketType} and exchange_symbol = ${order.exchangeSymbol}
      and exchange_order_id = ${order.exchangeOrderId} and ${isOfFills(tx)}
    for no key update`
  if (row === undefined) return null
  const recorded = await tx<{ exchange_trade_id: string }[]>`
    select exchange_trade_id from trade_executions where order_id = ${row.order_id}`
  const ids = new Set(recorded.map(({ exchange_trade_id }) => exchange_trade_id))
  const added = fills.filter(({ exchangeTradeId }) => !ids.has(exchangeTradeId))
  if (added.length === 0) return null
  const filledQuantity = added
    .reduce((sum, { quantity }) => sum.plus(quantity), new Exact(row.filled_quantity))
    .toFixed()
  await tx`
    update orders set status = 'partially_filled', quantity = greatest(quantity, ${filledQuantity}::numeric)
    where order_id = ${row.order_id}`
  const known = openedOrder(external, { ...row, createdAt: row.created_at.getTime() })
  const traded: UnifiedOrder = { ...order, filledQuantity, averagePrice: null, status: 'filled' }
  return { order: known, answer: { kind: 'found', order: traded, fills: added, at } }
}

function openedOrder(
  { accountId, marketType, pair, order }: ExternalOrder,
  row: { order_id: string; strategy_account_id: string | null; createdAt: Millis }
): KnownOrder {
  const { exchangeOrderId, symbol, exchangeSymbol, side, positionSide, orderType } = order
  return {
    orderId: row.order_id,
    strategyAccountId: row.strategy_account_id,
    accountId,
    marketType,
    exchangeOrderId,
    symbol,
    exchangeSymbol,
    base: pair?.base ?? null,
    quote: pair?.quote ?? null,
    pair,
    side,
    positionSide,
    orderType,
    status: 'open',
    createdAt: row.createdAt,
    checkedAt: null,
    misses: 0,
    fillChecks: 0,
    mismatch: null,
    mismatchChecks: 0,
    recordedQuantity: '0',
    isCumulative: false,
    fillRetries: 0,
    fillsDue: false
  }
}

/** A quantity above zero: an order that was given as an amount of quote currency has only what is filled of it. */
function quantityOf({ order, fills }: ExternalOrder): string {
  if (order.quantity !== null) return order.quantity
  const filled = new Exact(order.filledQuantity)
  return (filled.gt(0) ? filled : fills.reduce((sum, fill) => sum.plus(fill.quantity), new Exact(0))).toFixed()
}

/**
 * Excludes the order-entry side from inserting orders of the account until the end of the transaction: neither overlooks
 * the uncommitted row of the other. Does not wait.
 *
 * @returns whether no transaction of the order-entry side is inserting one now
 */
export async function lockOrderEntry(tx: TransactionSql, accountId: string): Promise<boolean> {
  const [lock] = await tx<{ held: boolean }[]>`
    select pg_try_advisory_xact_lock(hashtext('external orders'), (${accountId}::bigint % 256)::int) as held`
  return lock?.held === true
}
