// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { PositionSide } from '../domain/position.ts'
import { listedPairs } from '../exchanges/instrument-table.ts'
import { AdjustmentRefused } from './adjustment-refused.ts'
import type { ListedPosition } from './book-comparison.ts'
import { ADJUSTMENT } from './untraded-executions.ts'
import { bookUntraded, endedHoldings, type Holder, type UntradedChange } from './untraded-positions.ts'

/** A change of our position of a perpetual by an admin. */
export interface PositionAdjustment {
  accountId: string
  symbol: string
  positionSide: PositionSide
  /** Signed, in base units: what our position changes by. Not zero. */
  amount: Decimal
  reason: string
  id?: string | undefined
}

/**
 * Records an adjustment of a position and books it: executions that were not traded, at the time of now, which realise
 * nothing and change no wallet. What it takes from positions ends at their own entry price, the largest position first, none
 * beyond zero. The rest is opened at the entry price of the exchange, otherwise at its mark price, which is flagged; it
 * belongs to whom the largest position on the same side belongs, else to the strategy with the newest order of the symbol,
 * else to the account itself.
 *
 * @param key identifies it
 * @param listed the position as its exchange listed it
 * @returns false when an adjustment with the key is recorded
 * @throws {AdjustmentRefused} when base and quote, or the price of what is opened, are not known
 */
export async function recordPositionAdjustment(
  tx: TransactionSql,
  adjustment: PositionAdjustment,
  key: string,
  listed: ListedPosition | null
): Promise<boolean> {
  const { accountId, symbol, positionSide, amount, reason } = adjustment
  const [recorded] = await tx<{ adjustment_id: string; at: Date }[]>`
    insert into position_adjustments (account_id, market_type, symbol, position_side, amount, reason, idempotency_key)
    values (${accountId}, 'FUTURES', ${symbol}, ${positionSide}, ${amount}, ${reason}, ${key})
    on conflict do nothing returning adjustment_id, at`
  if (recorded === undefined) return false
  const holders = await lockedHolders(tx, adjustment)
  const known = await symbolOf(tx, adjustment, listed)
  const changes = changesOf(adjustment, { holders, known, listed, at: recorded.at })
  await bookUntraded(tx, accountId, changes, {
    orderType: 'ADJUSTMENT',
    tradeId: () => `${ADJUSTMENT}${recorded.adjustment_id}`
  })
  return true
}

interface KnownSymbol {
  exchange_symbol: string
  base: string
  quote: string
  /** The strategy with the newest order of the symbol. */
  ordered_by: string | null
}

function changesOf(
  { symbol, positionSide, amount }: PositionAdjustment,
  { holders, known, listed, at }: { holders: Holder[]; known: KnownSymbol; listed: ListedPosition | null; at: Date }
): UntradedChange[] {
  const pair = { symbol, base: known.base, quote: known.quote }
  const of = { symbol, exchangeSymbol: known.exchange_symbol, positionSide, pair, at }
  const { ended, rest } = endedHoldings(holders, new Exact(amount))
  const changes = ended.map(({ holder, quantity }): UntradedChange => {
    const price = holder.entry_price ?? listed?.entryPrice ?? listed?.markPrice ?? null
    if (price === null) throw new AdjustmentRefused(`the entry price of the position ${symbol} is not known`)
    return { ...of, quantity: quantity.toFixed(), price, isMarkPrice: false, strategyAccountId: holder.id }
  })
  if (rest.eq(0)) return changes
  const price = listed?.entryPrice ?? listed?.markPrice ?? null
  if (price === null) {
    throw new AdjustmentRefused(`the exchange listed no price of ${symbol}: repeat it after the next comparison`)
  }
  const same = holders.find(({ quantity }) => new Exact(quantity).times(rest).gt(0))
  return [
    ...changes,
    {
      ...of,
      quantity: rest.toFixed(),
      price,
      isMarkPrice: listed?.entryPrice === null,
      strategyAccountId: same === undefined ? known.ordered_by : same.id
    }
  ]
}

/** Who holds the position, the largest part first. Locks them in the order of their key. */
async function lockedHolders(
  tx: TransactionSql,
  { accountId, symbol, positionSide }: PositionAdjustment
): Promise<Holder[]> {
  return await tx<Holder[]>`
    with held as materialized (
      select strategy_account_id, quantity, entry_price from strategy_positions
      where holder_account_id = ${accountId} and market_type = 'FUTURES' and symbol = ${symbol}
        and position_side = ${positionSide}
      order by strategy_account_id nulls last for no key update
    )
    select strategy_account_id::text as id, quantity::text as quantity, entry_price::text as entry_price
    from held order by abs(held.quantity) desc, strategy_account_id`
}

/** Spelling, base and quote of the symbol: by the positions and orders of the account, else by the instruments. */
async function symbolOf(
  tx: TransactionSql,
  { accountId, symbol }: PositionAdjustment,
  listed: ListedPosition | null
): Promise<KnownSymbol> {
  const [known] = await tx<KnownSymbol[]>`
    with pairs as (
      select base, quote, null as exchange_symbol, 1 as rank from strategy_positions
      where holder_account_id = ${accountId} and market_type = 'FUTURES' and symbol = ${symbol}
      union all
      select i.base, i.quote, i.exchange_symbol, 2 from ${listedPairs(tx)} i
      join ${accountsWithoutCredentials(tx)} a on a.exchange = i.exchange
      where a.account_id = ${accountId} and i.market_type = 'FUTURES' and i.symbol = ${symbol}
    ), ordered as (
      select exchange_symbol, strategy_account_id from orders
      where account_id = ${accountId} and market_type = 'FUTURES' and symbol = ${symbol}
        and strategy_account_id is not null
      order by created_at desc, order_id desc limit 1
    )
    select p.base, p.quote, o.strategy_account_id as ordered_by,
      coalesce(${listed?.exchangeSymbol ?? null}::text, o.exchange_symbol, p.exchange_symbol, ${symbol}) as exchange_symbol
    from pairs p left join ordered o on true
    where p.base is not null and p.quote is not null order by p.rank limit 1`
  if (known === undefined) throw new AdjustmentRefused(`base and quote of ${symbol} are not known`)
  return known
}
