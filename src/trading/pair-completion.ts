// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { ExchangeName, Market, MarketType } from '../domain/market.ts'
import type { OrderSide } from '../domain/order.ts'
import { pairOf } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { listedPairs } from '../exchanges/instrument-table.ts'
import { writeChanges } from './order-writes.ts'
import { feeValueOf } from './position-accounting.ts'
import { bookEntries, type Entry } from './position-ledger.ts'

/** Rows of one transaction; bounds its duration. */
const COMPLETED_AT_ONCE = 2_000
const REBOOKED_AT_ONCE = 1_000

/** The current price of an asset in a quote currency on an exchange; null when it is unknown. */
export type PriceOn = (exchange: ExchangeName, asset: string, quote: string) => Decimal | null

/** The markets of orders without base and quote. */
export async function incompleteMarkets(database: Database): Promise<Market[]> {
  const rows = await database.run(
    sql => sql<{ exchange: ExchangeName; market_type: MarketType }[]>`
      select distinct a.exchange, o.market_type
      from orders o join ${accountsWithoutCredentials(sql)} a using (account_id) where o.quote is null`
  )
  return rows.map(({ exchange, market_type }) => ({ exchange, marketType: market_type }))
}

/** Whether there are rows of earlier versions whose base and quote are known by now. */
export async function hasIncompleteRows(database: Database): Promise<boolean> {
  const [row] = await database.run(
    sql => sql<{ incomplete: boolean }[]>`
      select exists (select from ${listedOrders(sql)}) or exists (
        select from trade_executions e join orders o using (order_id) where e.quote is null and o.quote is not null
      ) as incomplete`
  )
  return row?.incomplete === true
}

/**
 * Completes orders that have no base and quote from the instruments of their exchange, and executions from their orders,
 * with their positions: at most 2,000 of each. Executions that were booked with another quote currency are left for
 * `rebookExecutions`. Idempotent.
 *
 * @returns the number of completed orders and executions
 */
export async function completeRows(tx: TransactionSql): Promise<number> {
  const [orders, executions] = await Promise.all([
    tx`
      with listed as (
        select listed.* from ${listedOrders(tx)} listed join orders o using (order_id)
        order by order_id limit ${COMPLETED_AT_ONCE} for no key update of o
      )
      update orders o set base = listed.base, quote = listed.quote from listed where o.order_id = listed.order_id`,
    tx`
      with batch as materialized (
        select e.execution_id, e.account_id, e.strategy_account_id, e.market_type, e.symbol, e.position_side, o.base, o.quote
        from trade_executions e join orders o using (order_id)
        where e.quote is null and o.quote = e.currency
        order by e.order_id, e.execution_id limit ${COMPLETED_AT_ONCE}
      ), held as materialized (
        select p.position_id, known.base, known.quote
        from strategy_positions p join (
          select distinct account_id, strategy_account_id, market_type, symbol, position_side, base, quote from batch
        ) known on known.account_id = p.holder_account_id and known.market_type = p.market_type and known.symbol = p.symbol
          and known.position_side = p.position_side
          and known.strategy_account_id is not distinct from p.strategy_account_id
        where p.quote is null
        order by p.strategy_account_id, p.holder_account_id, p.market_type, p.symbol, p.position_side for no key update of p
      ), positions as (
        update strategy_positions p set base = held.base, quote = held.quote from held
        where p.position_id = held.position_id
        returning 1
      )
      update trade_executions e set base = batch.base, quote = batch.quote
      from batch cross join (select count(*) from positions) positions_first
      where e.execution_id = batch.execution_id`
  ])
  return orders.count + executions.count
}

/** A recorded execution that is booked again. */
export interface RecordedRow {
  execution_id: string
  order_id: string
  strategy_account_id: string | null
  account_id: string
  exchange: ExchangeName
  market_type: MarketType
  exchange_trade_id: string
  symbol: string
  side: OrderSide
  position_side: PositionSide
  price: Decimal
  quantity: Decimal
  fee: Decimal
  fee_asset: string | null
  executed_at: Date
  base: string
  quote: string
}

/**
 * Books executions again that an earlier version booked with another quote currency than that of their exchange: values
 * their fees, and computes their positions from there. At most 1,000. Idempotent.
 *
 * @returns the number of executions
 */
export async function rebookExecutions(tx: TransactionSql, priceOn: PriceOn): Promise<number> {
  const rows = await recordedRows(
    tx,
    tx`e.quote is null and o.quote <> e.currency order by e.order_id, e.execution_id limit ${REBOOKED_AT_ONCE}`
  )
  await bookAgain(tx, rows, (row, asset) => priceOn(row.exchange, asset, row.quote))
  return rows.length
}

/** Recorded executions `e` of orders `o`, with the pair of the order, that meet a condition. */
export function recordedRows(sql: Sql | TransactionSql, condition: ReturnType<Sql>) {
  return sql<RecordedRow[]>`
    select e.execution_id, e.order_id, e.strategy_account_id, e.account_id, a.exchange, e.market_type,
      e.exchange_trade_id, e.symbol, e.side, e.position_side, e.price, e.quantity, e.fee, e.fee_asset, e.executed_at,
      o.base, o.quote
    from trade_executions e join orders o using (order_id)
    join ${accountsWithoutCredentials(sql)} a on a.account_id = e.account_id
    where ${condition}`
}

/**
 * Books recorded executions again, with fees that are valued by the prices of their assets. The positions, round trips and
 * days follow.
 */
export async function bookAgain(
  tx: TransactionSql,
  rows: readonly RecordedRow[],
  priceOf: (row: RecordedRow, asset: string) => Decimal | null
): Promise<void> {
  if (rows.length === 0) return
  const entries = rows.map(row => entryOf(row, asset => priceOf(row, asset)))
  await writeChanges(tx, [], await bookEntries(tx, entries))
}

function entryOf(row: RecordedRow, priceOf: (asset: string) => Decimal | null): Entry {
  const pair = pairOf(row.base, row.quote)
  const execution = { side: row.side, price: row.price, quantity: row.quantity, fee: row.fee, feeAsset: row.fee_asset }
  return {
    ...execution,
    executionId: row.execution_id,
    orderId: row.order_id,
    strategyAccountId: row.strategy_account_id,
    accountId: row.account_id,
    marketType: row.market_type,
    symbol: row.symbol,
    positionSide: row.position_side,
    pair,
    exchangeTradeId: row.exchange_trade_id,
    executedAt: row.executed_at,
    feeValue: feeValueOf(execution, pair, priceOf)
  }
}

/** Orders without base and quote whose instrument is known and has their symbol. */
function listedOrders(sql: Sql | TransactionSql) {
  return sql`(
    select o.order_id, i.base, i.quote from orders o
    join ${accountsWithoutCredentials(sql)} a using (account_id)
    join ${listedPairs(sql)} i on i.exchange = a.exchange and i.market_type = o.market_type
      and i.exchange_symbol = o.exchange_symbol and i.symbol = o.symbol
    where o.quote is null
  )`
}
