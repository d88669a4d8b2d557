// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'

/** The symbols that are held on a market. */
export interface HeldMarket {
  exchange: ExchangeName
  marketType: MarketType
  symbols: string[]
}

/** A price of a market as rows are joined with it. */
export interface Mark {
  exchange: ExchangeName
  market_type: MarketType
  symbol: string
  price: Decimal
  /** The price's own time. */
  at: Date
}

/** Consecutive accounts: `from` to `to`, both of them included. */
export interface AccountRange {
  from: string
  to: string
}

export interface Marked {
  /** Open positions read. */
  checked: number
  /** Those that got a mark. */
  changed: number
  /** Those without a price: they keep the mark that they had. */
  without_price: number
}

/** Symbols of open positions, by market. */
export async function heldMarkets(database: Database): Promise<HeldMarket[]> {
  // Grouped here: asked to group a second time, the planner sorts every position instead of hashing it.
  const rows = await database.run(
    sql => sql<{ exchange: ExchangeName; market_type: MarketType; symbol: string }[]>`
      select distinct a.exchange, p.market_type, p.symbol
      from strategy_positions p
      join ${accountsWithoutCredentials(sql)} a on a.account_id = p.holder_account_id
      where p.quantity <> 0`
  )
  const markets = new Map<string, HeldMarket>()
  for (const { exchange, market_type, symbol } of rows) {
    const id = `${exchange} ${market_type}`
    const market = markets.get(id)
    if (market === undefined) markets.set(id, { exchange, marketType: market_type, symbols: [symbol] })
    else market.symbols.push(symbol)
  }
  return [...markets.values()]
}

/** Everything that has open positions, in ranges of about so many positions each. */
export async function openPositions(
  database: Database,
  perRange: number
): Promise<{ total: number; ranges: AccountRange[] }> {
  const rows = await database.run(
    sql => sql<{ id: string; positions: number }[]>`
      select holder_account_id as id, count(*)::int as positions from strategy_positions
      where quantity <> 0 group by holder_account_id order by holder_account_id`
  )
  const ranges: AccountRange[] = []
  let [total, begun] = [0, 0]
  for (const { id, positions } of rows) {
    const last = ranges.at(-1)
    if (last === undefined || total - begun + positions > perRange) {
      ranges.push({ from: id, to: id })
      begun = total
    } else last.to = id
    total += positions
  }
  return { total, ranges }
}

/**
 * Values the open positions of a range in one statement: unrealised PnL is (mark - entry) · quantity, exact. A mark that
 * is newer than the price stays. Idempotent.
 *
 * Rows are locked in the order of their keys, those of accounts last, as the writers of executions lock them.
 */
export async function markPositions(
  tx: TransactionSql,
  marks: readonly Mark[],
  { from, to }: AccountRange
): Promise<Marked> {
  const [marked] = await tx<Marked[]>`
    with batch as materialized (
      select position_id, holder_account_id as account_id, market_type, symbol from strategy_positions
      where quantity <> 0 and holder_account_id between ${from}::bigint and ${to}::bigint
      order by strategy_account_id, holder_account_id, market_type, symbol, position_side for no key update
    ), mark as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(marks)}::text::jsonb)
        as r(exchange text, market_type text, symbol text, price numeric, at timestamptz)
    ), holder as materialized (
      select account_id, exchange from ${accountsWithoutCredentials(tx)} a
      where account_id between ${from}::bigint and ${to}::bigint
    ), priced as materialized (
      select batch.*, mark.price, mark.at
      from batch
      join holder using (account_id)
      join mark using (exchange, market_type, symbol)
    ), marked as (
      update strategy_positions p set
        mark_price = priced.price, marked_at = priced.at,
        unrealized_pnl = (priced.price - p.entry_price) * p.quantity, updated_at = now()
      from priced
      where p.position_id = priced.position_id and p.holder_account_id between ${from}::bigint and ${to}::bigint
        and p.entry_price is not null and (p.marked_at is null or p.marked_at <= priced.at)
      returning 1
    )
    select
      (select count(*)::int from batch) as checked,
      (select count(*)::int from marked) as changed,
      (select count(*)::int from batch) - (select count(*)::int from priced) as without_price`
  if (marked === undefined) throw new Error('the statement gave no row')
  return marked
}
