// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import type { OrderSide } from '../domain/order.ts'
import { pairOf } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { anyOf } from './any-of.ts'
import { writeChanges } from './order-writes.ts'
import { bookEntries, type Entry } from './position-ledger.ts'

/** Orders of one transaction; bounds its duration. There is rarely one. */
const SUPERSEDED_AT_ONCE = 20

interface SupersededRow {
  execution_id: string
  order_id: string
  strategy_account_id: string | null
  account_id: string
  market_type: MarketType
  exchange_trade_id: string
  symbol: string
  base: string
  quote: string
  side: OrderSide
  position_side: PositionSide
  price: Decimal
  quantity: Decimal
  fee: Decimal
  fee_asset: string | null
  fee_value: Decimal | null
  executed_at: Date
}

/** Whether there are external orders that the order-entry side recorded afterwards, and whose executions remain. */
export async function hasSuperseded(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ superseded: boolean }[]>`
    select exists (select from orders where superseded_at is not null and status <> 'canceled') as superseded`
  return row?.superseded === true
}

/**
 * Removes the executions of external orders that the order-entry side recorded afterwards as its own: the own order has
 * them. Their positions are computed again, and so are the amounts of their days. The rows of the orders stay, as canceled
 * with the error code `superseded`. Idempotent.
 *
 * @returns the number of orders
 */
export async function withdrawSuperseded(tx: TransactionSql): Promise<number> {
  const orders = await tx<{ order_id: string }[]>`
    select order_id from orders where superseded_at is not null and status <> 'canceled'
    order by order_id limit ${SUPERSEDED_AT_ONCE} for no key update`
  if (orders.length === 0) return 0
  const ids = orders.map(({ order_id }) => order_id)
  const rows = await tx<SupersededRow[]>`
    select execution_id, order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, base, quote,
      side, position_side, price, quantity, fee, fee_asset, fee_value, executed_at
    from trade_executions where order_id = ${anyOf(tx, ids)} order by execution_id`
  if (rows.length > 0) await writeChanges(tx, [], await bookEntries(tx, rows.map(removedEntryOf)))
  await tx`
    update orders set status = 'canceled', filled_quantity = 0, average_price = null, error_code = 'superseded',
      mismatch = null, mismatch_checks = 0, flagged_at = null, fills_due_at = null, updated_at = now()
    where order_id = ${anyOf(tx, ids)}`
  return orders.length
}

function removedEntryOf(row: SupersededRow): Entry {
  return {
    executionId: row.execution_id,
    isRemoved: true,
    orderId: row.order_id,
    accountId: row.account_id,
    strategyAccountId: row.strategy_account_id,
    marketType: row.market_type,
    symbol: row.symbol,
    positionSide: row.position_side,
    pair: pairOf(row.base, row.quote),
    exchangeTradeId: row.exchange_trade_id,
    side: row.side,
    price: row.price,
    quantity: row.quantity,
    fee: row.fee,
    feeAsset: row.fee_asset,
    feeValue: row.fee_value,
    executedAt: row.executed_at
  }
}
