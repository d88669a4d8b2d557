// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, id, orNull, text, time } from './column.ts'
import { MARKET_TYPE, POSITION_SIDE, QUOTE, STRATEGY, STRATEGY_ACCOUNT, strategyOf } from './row-columns.ts'
import { ofAccountsAndStrategies } from './scope.ts'

/** Positions as they are now, those that are closed included: they have the amounts of their whole life. */
export const positions: Collection = {
  name: 'positions',
  columns: {
    position_id: id(),
    account_id: id(),
    strategy_id: STRATEGY,
    strategy_account_id: STRATEGY_ACCOUNT,
    market_type: MARKET_TYPE,
    symbol: text(),
    position_side: POSITION_SIDE,
    base: orNull(text()),
    quote: orNull(text('the currency of all prices and PnL')),
    quantity: amount('below zero: short; 0: closed'),
    entry_price: orNull(amount('the average cost; null while nothing is held')),
    mark_price: orNull(amount()),
    marked_at: orNull(time('the time of the price')),
    unrealized_pnl: orNull(amount('null until it is marked')),
    realized_pnl: amount('gross, over the life of the position'),
    fees: amount('those whose value is known'),
    funding: amount('received less paid'),
    net_pnl: amount('realised − fees + funding'),
    updated_at: time()
  },
  source: tx => tx`(
    select p.*, p.holder_account_id as account_id, ${strategyOf(tx, 'p')} as strategy_id,
      p.realized_pnl - p.fees + p.funding as net_pnl
    from strategy_positions p
  )`,
  scope: ofAccountsAndStrategies(),
  selectedBy: ['account_id', 'strategy_id'],
  currency: QUOTE,
  key: [['position_id', 'bigint']],
  order: 'desc',
  bounded: 'rows'
}
