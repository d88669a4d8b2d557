// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, count, flag, id, orNull, text, time } from './column.ts'
import { MARKET_TYPE, ORDER_SIDE, POSITION_SIDE, QUOTE, STRATEGY, STRATEGY_ACCOUNT, strategyOf } from './row-columns.ts'
import { ofAccountsAndStrategies } from './scope.ts'

/** Orders of the order-entry side, and those that were recorded from fills. */
export const orders: Collection = {
  name: 'orders',
  columns: {
    order_id: id(),
    account_id: id(),
    strategy_id: STRATEGY,
    strategy_account_id: STRATEGY_ACCOUNT,
    market_type: MARKET_TYPE,
    exchange_order_id: orNull(text('null while the exchange has not answered')),
    symbol: text(),
    exchange_symbol: text('in the spelling of the exchange'),
    base: orNull(text()),
    quote: orNull(text('the currency of all prices')),
    origin: text({
      description: '`own`: recorded by the order-entry side; `forced`: by the exchange, such as a liquidation',
      values: ['own', 'external', 'forced']
    }),
    side: ORDER_SIDE,
    position_side: POSITION_SIDE,
    order_type: text(),
    price: orNull(amount('the limit; null for an order without one')),
    stop_price: orNull(amount('the trigger; null for an order without one')),
    quantity: amount('in base units'),
    filled_quantity: amount(),
    average_price: orNull(amount('of the fills; null before the first')),
    is_mark_price: flag('an opening position whose price is a mark price, because the exchange reports no entry price'),
    status: text({
      values: ['pending', 'open', 'partially_filled', 'filled', 'canceled', 'rejected', 'expired', 'unknown']
    }),
    misses: count('how often in a row the exchange did not know the order'),
    error_code: orNull(text()),
    mismatch: orNull(text('what the exchange contradicts')),
    flagged_at: orNull(time('since when it is unknown or contradicted; null while it is neither')),
    superseded_at: orNull(time('when the order-entry side recorded the same order, which has the fills since then')),
    last_checked_at: orNull(time()),
    created_at: time(),
    updated_at: time()
  },
  source: tx => tx`(select o.*, ${strategyOf(tx, 'o')} as strategy_id from orders o)`,
  scope: ofAccountsAndStrategies(),
  selectedBy: ['account_id', 'strategy_id'],
  time: { column: 'created_at', kind: 'time' },
  currency: QUOTE,
  key: [
    ['created_at', 'timestamptz'],
    ['order_id', 'bigint']
  ],
  order: 'desc',
  bounded: 'rows'
}
