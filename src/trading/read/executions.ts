// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, id, orNull, text, time } from './column.ts'
import { MARKET_TYPE, ORDER_SIDE, POSITION_SIDE, QUOTE, STRATEGY, STRATEGY_ACCOUNT, strategyOf } from './row-columns.ts'
import { ofAccountsAndStrategies } from './scope.ts'

/** The executions of orders, own and external. */
export const executions: Collection = {
  name: 'executions',
  columns: {
    execution_id: id(),
    order_id: id(),
    account_id: id(),
    strategy_id: STRATEGY,
    strategy_account_id: STRATEGY_ACCOUNT,
    market_type: MARKET_TYPE,
    exchange_trade_id: text(
      'unique for an order; `cum:` begins one that stands for fills that the exchange does not list'
    ),
    symbol: text(),
    base: orNull(text()),
    quote: orNull(text('the currency of price, fee_value and all PnL')),
    side: ORDER_SIDE,
    position_side: POSITION_SIDE,
    price: amount(),
    quantity: amount(),
    fee: amount('in fee_asset; below zero: a rebate'),
    fee_asset: orNull(text()),
    fee_value: orNull(amount('the fee in the quote currency')),
    realized_pnl: orNull(amount('gross, by the average cost of the position; null when it closes nothing')),
    exchange_realized_pnl: orNull(amount('gross, as the exchange reports it')),
    net_pnl: orNull(amount('realised − fee_value; null while the value of the fee is not known')),
    round_trip_pnl: orNull(
      amount('of the round trip that it ends, net of fees, without funding; null when it ends none')
    ),
    round_trip_opened_at: orNull(time()),
    executed_at: time(),
    recorded_at: time()
  },
  source: tx => tx`(
    select e.*, ${strategyOf(tx, 'e')} as strategy_id,
      coalesce(e.realized_pnl, 0) - case when e.fee = 0 then 0 else e.fee_value end as net_pnl
    from trade_executions e
  )`,
  scope: ofAccountsAndStrategies(),
  selectedBy: ['account_id', 'strategy_id'],
  time: { column: 'executed_at', kind: 'time' },
  currency: QUOTE,
  key: [
    ['executed_at', 'timestamptz'],
    ['execution_id', 'bigint']
  ],
  order: 'desc',
  bounded: 'rows'
}
