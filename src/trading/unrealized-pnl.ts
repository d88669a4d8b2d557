// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Decimal, ExchangeName, MarketType, PositionSide } from '../exchanges/exchange-client.ts'

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
  /** When it was read. */
  at: Date
}

/** The key of a position; positions are marked in the order of their keys. */
export interface PositionCursor {
  strategy_account_id: string
  market_type: MarketType | ''
  symbol: string
  position_side: PositionSide | ''
}

export const FIRST_POSITION: PositionCursor = {
  strategy_account_id: '0',
  market_type: '',
  symbol: '',
  position_side: ''
}

export interface Marked {
  /** Open positions looked at. */
  checked: number
  /** Those that got a mark. */
  changed: number
  /** Those without a price: they keep the mark that they had. */
  without_price: number
  /** The last one looked at; null when there was none. */
  last: PositionCursor | null
}

/** What is held, by market, with the number of open positions. */
export async function heldMarkets(database: Database): Promise<{ markets: HeldMarket[]; positions: number }> {
  const rows = await database.run(
    sql => sql<{ exchange: ExchangeName; market_type: MarketType; symbols: string[]; positions: number }[]>`
      select exchange, market_type, jsonb_agg(symbol) as symbols, sum(positions)::int as positions from (
        select a.exchange, p.market_type, p.symbol, count(*) as positions
        from strategy_positions p
        join strategy_accounts using (strategy_account_id)
        join accounts a using (account_id)
        where p.quantity <> 0
        group by a.exchange, p.market_type, p.symbol
      ) held group by exchange, market_type`
  )
  return {
    markets: rows.map(({ exchange, market_type, symbols }) => ({ exchange, marketType: market_type, symbols })),
    positions: rows.reduce((sum, { positions }) => sum + positions, 0)
  }
}

/**
 * Values the next open positions after `after`, at most `limit`, in one statement: unrealised PnL is
 * (mark - entry) · quantity, exact. A mark that is newer than the price stays. Idempotent.
 *
 * Rows are locked in the order of their keys, as whoever records executions locks them.
 */
export async function markPositions(
  tx: TransactionSql,
  marks: readonly Mark[],
  after: PositionCursor,
  limit: number
): Promise<Marked> {
  const [marked] = await tx<Marked[]>`
    with batch as materialized (
      select strategy_account_id, market_type, symbol, position_side from strategy_positions
      where quantity <> 0 and (strategy_account_id, market_type, symbol, position_side)
        > (${after.strategy_account_id}::bigint, ${after.market_type}, ${after.symbol}, ${after.position_side})
      order by strategy_account_id, market_type, symbol, position_side
      limit ${limit} for no key update
    ), mark as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(marks)}::text::jsonb)
        as r(exchange text, market_type text, symbol text, price numeric, at timestamptz)
    ), priced as materialized (
      select batch.*, mark.price, mark.at
      from batch
      join strategy_accounts using (strategy_account_id)
      join accounts using (account_id)
      join mark using (exchange, market_type, symbol)
    ), marked as (
      update strategy_positions p set
        mark_price = priced.price, marked_at = priced.at,
        unrealized_pnl = (priced.price - p.entry_price) * p.quantity, updated_at = now()
      from priced
      where p.strategy_account_id = priced.strategy_account_id and p.market_type = priced.market_type
        and p.symbol = priced.symbol and p.position_side = priced.position_side
        and p.entry_price is not null and (p.marked_at is null or p.marked_at <= priced.at)
      returning 1
    )
    select
      (select count(*)::int from batch) as checked,
      (select count(*)::int from marked) as changed,
      (select count(*)::int from batch) - (select count(*)::int from priced) as without_price,
      (
        select to_jsonb(last) from (
          select strategy_account_id::text, market_type, symbol, position_side from batch
          order by batch.strategy_account_id desc, market_type desc, symbol desc, position_side desc limit 1
        ) last
      ) as last`
  if (marked === undefined) throw new Error('the statement gave no row')
  return marked
}
