/** Orders, executions, ledger entries, positions and balances of traders, for the tests of the read API. */
import type { Database } from '../../src/database/database.ts'
import type { Trader } from './trading-records.ts'

/** A row of each of these tables. */
export interface RowsToInsert {
  /** Before 2026-11-23T00:00:00Z: the time of the order, the execution and the entry. */
  microseconds: number
  /** The quote of the symbol, and the asset; null: not known, and USDT for the asset. */
  currency: string | null
  amount: string
  /** Whether the account itself traded, not its strategy. Default false. */
  isExternal?: boolean
  /** The texts of the exchange. */
  word?: string
}

/** Inserts the rows; a position and a balance that exist stay. @returns the id of the order */
export async function insertRows(database: Database, trader: Trader, row: RowsToInsert): Promise<string> {
  const { accountId, strategyAccountId } = trader
  const { microseconds, currency, amount, isExternal = false, word = 'word' } = row
  const holder = isExternal ? null : strategyAccountId
  return await database.run(async sql => {
    const at = sql`'2026-11-23T00:00:00Z'::timestamptz - ${microseconds}::int * interval '1 microsecond'`
    const [order] = await sql<{ order_id: string }[]>`
      insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, quote, origin, side,
        order_type, price, quantity, status, created_at)
      values (${holder}, ${accountId}, 'SPOT', ${word}, ${word}, ${currency}, ${isExternal ? 'external' : 'own'}, 'BUY',
        'LIMIT', ${amount}::numeric, 1, 'filled', ${at})
      returning order_id`
    const orderId = order?.order_id ?? ''
    await sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, quote, side, price, quantity, realized_pnl, executed_at)
      values (${orderId}, ${holder}, ${accountId}, 'SPOT', ${word}, ${word}, coalesce(${currency}, 'USDT'), ${currency}, 'BUY',
        ${amount}::numeric, 1, ${amount}::numeric, ${at})`
    await sql`
      insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
      values (${accountId}, 'SPOT', coalesce(${currency}, 'USDT'), ${amount}::numeric, 'deposit', ${word}, ${orderId}, ${at})`
    await sql`
      insert into strategy_positions (strategy_account_id, holder_account_id, market_type, symbol, currency, quote, quantity,
        realized_pnl)
      values (${holder}, ${accountId}, 'SPOT', ${`${word}${microseconds}`}, coalesce(${currency}, 'USDT'), ${currency},
        ${amount}::numeric, ${amount}::numeric)
      on conflict do nothing`
    await sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
      values (${accountId}, ${microseconds % 2 === 0 ? 'SPOT' : 'FUTURES'}, coalesce(${currency}, 'USDT') || ${microseconds % 5},
        0, ${amount}::numeric, ${amount}::numeric, ${at})
      on conflict do nothing`
    return orderId
  })
}
