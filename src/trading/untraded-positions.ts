// @FEAT:trading @COMP:service @TYPE:core
import type { Big } from 'big.js'
import type { TransactionSql } from '../database/client.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { Pair } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { writeChanges } from './order-writes.ts'
import { bookEntries, type Entry } from './position-ledger.ts'

/** What a strategy, or the account itself (`id` null), holds of a position. */
export interface Holder {
  id: string | null
  quantity: Decimal
  entry_price: Decimal | null
}

/** A change of a perpetual position that was not traded. */
export interface UntradedChange {
  symbol: string
  exchangeSymbol: string
  positionSide: PositionSide
  /** Signed, never zero. */
  quantity: Decimal
  price: Decimal
  isMarkPrice: boolean
  pair: Pair
  strategyAccountId: string | null
  at: Date
}

/** What untraded changes are: the type of their orders, and the trade id of the execution of an order. */
export interface UntradedKind {
  orderType: 'OPENING' | 'ADJUSTMENT'
  tradeId: (orderId: string) => string
}

/**
 * The parts of holdings that a change of their sum ends: those on the other side of zero, in their order, none beyond zero.
 *
 * @returns the parts, signed as the change, and the rest of the change, which ends no holding
 */
export function endedHoldings(
  holders: readonly Holder[],
  change: Big
): { ended: { holder: Holder; quantity: Big }[]; rest: Big } {
  let rest = change
  const ended: { holder: Holder; quantity: Big }[] = []
  for (const holder of holders) {
    const held = new Exact(holder.quantity)
    if (held.eq(0) || rest.eq(0) || held.s === rest.s) continue
    const quantity = held.abs().lt(rest.abs()) ? held.neg() : rest
    rest = rest.minus(quantity)
    ended.push({ holder, quantity })
  }
  return { ended, rest }
}

/**
 * Books untraded changes of an account: of each an external order that is filled, with one execution. An execution is
 * without fee and changes no wallet.
 */
export async function bookUntraded(
  tx: TransactionSql,
  accountId: string,
  changes: readonly UntradedChange[],
  { orderType, tradeId }: UntradedKind
): Promise<void> {
  if (changes.length === 0) return
  const rows = changes.map((change, ref) => ({
    ref,
    strategy_account_id: change.strategyAccountId,
    symbol: change.symbol,
    exchange_symbol: change.exchangeSymbol,
    base: change.pair.base,
    quote: change.pair.quote,
    side: sideOf(change),
    position_side: change.positionSide,
    price: change.price,
    is_mark_price: change.isMarkPrice,
    quantity: new Exact(change.quantity).abs().toFixed(),
    at: change.at
  }))
  const inserted = await tx<{ order_id: string }[]>`
    insert into orders (
      strategy_account_id, account_id, market_type, symbol, exchange_symbol, base, quote, origin, side, position_side,
      order_type, price, is_mark_price, quantity, filled_quantity, average_price, status, created_at
    )
    select strategy_account_id, ${accountId}, 'FUTURES', symbol, exchange_symbol, base, quote, 'external', side,
      position_side, ${orderType}, price, is_mark_price, quantity, quantity, price, 'filled', at
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r (
      ref int, strategy_account_id bigint, symbol text, exchange_symbol text, base text, quote text, side text,
      position_side text, price numeric, is_mark_price boolean, quantity numeric, at timestamptz
    )
    order by ref returning order_id`
  const entries = changes.map((change, index): Entry => {
    const orderId = inserted[index]?.order_id
    if (orderId === undefined) throw new Error('an order was not inserted')
    return {
      executionId: null,
      orderId,
      accountId,
      strategyAccountId: change.strategyAccountId,
      marketType: 'FUTURES',
      symbol: change.symbol,
      positionSide: change.positionSide,
      pair: change.pair,
      exchangeTradeId: tradeId(orderId),
      side: sideOf(change),
      price: change.price,
      quantity: new Exact(change.quantity).abs().toFixed(),
      fee: '0',
      feeAsset: change.pair.quote,
      feeValue: '0',
      exchangePnl: '0',
      executedAt: change.at
    }
  })
  await writeChanges(tx, [], await bookEntries(tx, entries))
}

function sideOf({ quantity }: Pick<UntradedChange, 'quantity'>): 'BUY' | 'SELL' {
  return new Exact(quantity).gt(0) ? 'BUY' : 'SELL'
}
