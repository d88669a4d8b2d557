// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Fill } from '../domain/fill.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import { isOfFills } from './external-orders.ts'
import { groupedBy } from './grouped.ts'

/**
 * An order counts as external when it was not recorded for so long after a fill. The order-entry side inserts an order
 * before or within seconds after the exchange accepts it. A forced order is never one of the order-entry side.
 */
const UNKNOWN_FOR_SECONDS = 2 * 60
/** As long as that while an order of the order-entry side waits for its id from the exchange, on the same symbol and side. */
const UNANSWERED_FOR_SECONDS = 10 * 60
/** An order that waits for its id was inserted at most so long before its first fill. */
const ANSWERED_WITHIN = '1 hour'
/** Types of orders that become other orders, with ids of their own. */
const CONDITIONAL = 'STOP|TAKE_PROFIT|TRAILING|CONDITIONAL|TRIGGER|OCO'

/** An order with fills, and without a row in `orders`. */
export interface UnknownOrder {
  exchangeSymbol: string
  exchangeOrderId: string
  /** The fills that were read, at least one, oldest first. */
  fills: readonly [Fill, ...Fill[]]
  /** Whether the order-entry side may still record it, or it may be a part of a conditional order that is recorded. */
  mayBeOwn: boolean
}

/**
 * The orders of the fills that are not recorded: no row has their id, and none of their fills is recorded as one of a
 * conditional order that became several. An order of fills is one of them when it has traded more since.
 *
 * @param fills oldest first
 */
export async function unknownOrders(
  tx: TransactionSql,
  { accountId, marketType }: { accountId: string; marketType: MarketType },
  fills: readonly Fill[]
): Promise<UnknownOrder[]> {
  if (fills.length === 0) return []
  const rows = await tx<{ exchange_symbol: string; exchange_order_id: string; may_be_own: boolean }[]>`
    with seen as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(fills.map(rowOf))}::text::jsonb) as r (
        exchange_symbol text, symbol text, exchange_order_id text, exchange_trade_id text, side text, forced boolean,
        at timestamptz
      )
    ), ordered as (
      select exchange_symbol, exchange_order_id, min(side) as side, max(at) as at, bool_or(forced) as forced
      from seen group by exchange_symbol, exchange_order_id
    )
    select exchange_symbol, exchange_order_id,
      not forced and (
        at > now() - make_interval(secs => ${UNKNOWN_FOR_SECONDS}::int)
        or ${isUnanswered(tx, { accountId, marketType })} or ${isConditional(tx, { accountId, marketType })}
      ) as may_be_own
    from ordered s
    where not exists (
      select from orders o where o.account_id = ${accountId} and o.market_type = ${marketType}
        and o.exchange_symbol = s.exchange_symbol and o.exchange_order_id = s.exchange_order_id
        and not (${isOfFills(tx)} and exists (
          select from seen f
          where f.exchange_symbol = s.exchange_symbol and f.exchange_order_id = s.exchange_order_id and not exists (
            select from trade_executions e where e.order_id = o.order_id and e.exchange_trade_id = f.exchange_trade_id
          )
        ))
    ) and not exists (
      select from seen f join trade_executions e on e.exchange_trade_id = f.exchange_trade_id and e.symbol = f.symbol
        and e.side = f.side
      join orders o on o.order_id = e.order_id
      where e.account_id = ${accountId} and e.market_type = ${marketType} and f.exchange_symbol = s.exchange_symbol
        and f.exchange_order_id = s.exchange_order_id
        and o.exchange_order_id is distinct from s.exchange_order_id
    )`
  const unknown = new Map(rows.map(row => [`${row.exchange_symbol} ${row.exchange_order_id}`, row.may_be_own]))
  const byOrder = groupedBy(fills, ({ exchangeSymbol, exchangeOrderId }) => `${exchangeSymbol} ${exchangeOrderId}`)
  return [...byOrder].flatMap(([id, [first, ...others]]) => {
    const mayBeOwn = unknown.get(id)
    if (first === undefined || mayBeOwn === undefined) return []
    const { exchangeSymbol, exchangeOrderId } = first
    return { exchangeSymbol, exchangeOrderId, fills: [first, ...others] as const, mayBeOwn }
  })
}

interface Market {
  accountId: string
  marketType: MarketType
}

/** Whether an own order on the symbol and side of the order `s` has no id yet. */
function isUnanswered(tx: TransactionSql, { accountId, marketType }: Market) {
  return tx`(
    at > now() - make_interval(secs => ${UNANSWERED_FOR_SECONDS}::int) and exists (
      select from orders o
      where o.account_id = ${accountId} and o.market_type = ${marketType} and o.status = 'pending' and o.origin = 'own'
        and o.exchange_order_id is null and o.exchange_symbol = s.exchange_symbol and o.side = s.side
        and o.created_at between at - ${ANSWERED_WITHIN}::interval and at + interval '1 minute'
    )
  )`
}

/** Whether an own conditional order on the symbol and side of the order `s` may be recorded with its fills later. */
function isConditional(tx: TransactionSql, { accountId, marketType }: Market) {
  return tx`exists (
    select from orders o
    where o.account_id = ${accountId} and o.market_type = ${marketType} and o.origin = 'own'
      and o.exchange_symbol = s.exchange_symbol and o.side = s.side
      and (o.stop_price is not null or o.order_type ~* ${CONDITIONAL}) and (
        o.fills_due_at is not null or (
          o.status in ('pending', 'open', 'partially_filled')
          and (o.fill_checks > 0 or coalesce(o.last_checked_at, '-infinity') < at + interval '1 minute')
        )
      )
  )`
}

/** The ids of the recorded orders of a market that were created since a time, without those whose fills alone are known. */
export async function knownOrderIds(
  tx: TransactionSql,
  { accountId, marketType }: Market,
  since: Millis
): Promise<ReadonlySet<string>> {
  const rows = await tx<{ exchange_order_id: string }[]>`
    select exchange_order_id from orders o
    where account_id = ${accountId} and market_type = ${marketType} and exchange_order_id is not null
      and created_at >= ${new Date(since)} and not ${isOfFills(tx)}`
  return new Set(rows.map(({ exchange_order_id }) => exchange_order_id))
}

/** The symbols of a market, as the exchange writes them, in which the account has orders, and the assets that it held. */
export async function usedSymbols(
  tx: TransactionSql,
  { accountId, marketType }: Market
): Promise<{ symbols: string[]; assets: ReadonlySet<string> }> {
  const [orders, balances] = await Promise.all([
    tx<{ exchange_symbol: string }[]>`
      select distinct exchange_symbol from orders where account_id = ${accountId} and market_type = ${marketType}`,
    tx<{ asset: string }[]>`
      select asset from account_balances where account_id = ${accountId} and market_type = ${marketType}
      union select asset from book_totals where account_id = ${accountId} and wallet = ${marketType}`
  ])
  return {
    symbols: orders.map(({ exchange_symbol }) => exchange_symbol),
    assets: new Set(balances.map(({ asset }) => asset))
  }
}

function rowOf(fill: Fill) {
  return {
    exchange_symbol: fill.exchangeSymbol,
    symbol: fill.symbol,
    exchange_order_id: fill.exchangeOrderId,
    exchange_trade_id: fill.exchangeTradeId,
    side: fill.side,
    forced: fill.forced === true,
    at: new Date(fill.executedAt)
  }
}
