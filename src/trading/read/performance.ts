// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, count, day, flag, id, orNull, text, time } from './column.ts'
import { ofStrategies } from './scope.ts'

/** What each strategy earned, by day. */
export const performance: Collection = {
  name: 'performance',
  columns: {
    strategy_id: id(),
    date: day('a day of TIME_ZONE that is over'),
    currency: text('the capital currency of the strategy'),
    is_testnet: flag('what the strategy does on testnets has separate items'),
    daily_pnl: amount('net: realised − fees + funding'),
    cumulative_pnl: amount('net, since the first execution'),
    daily_return: orNull(amount('on the capital of the day; 0.01 is 1 %')),
    cumulative_return: orNull(amount('the daily returns, compounded')),
    executions: count(),
    executions_apart: count('executions in another quote currency: not in the amounts'),
    trades: count('round trips from flat to flat that ended'),
    wins: count('those above zero, net of fees and funding'),
    win_rate: orNull(amount('wins ÷ trades')),
    fees: amount(),
    fees_unknown: count('executions whose fee has no known value: not in the amounts'),
    funding: amount('received less paid'),
    max_drawdown: orNull(amount('since the first execution; −0.1 is 10 % below the peak')),
    volatility: orNull(amount('annualised')),
    sharpe: orNull(amount()),
    sortino: orNull(amount()),
    computed_at: time()
  },
  source: tx => tx`strategy_performance`,
  scope: ofStrategies(),
  selectedBy: ['strategy_id'],
  time: { column: 'date', kind: 'day' },
  currency: { column: 'currency', description: 'the capital currency' },
  key: [
    ['date', 'date'],
    ['strategy_id', 'bigint'],
    ['currency', 'text'],
    ['is_testnet', 'boolean']
  ],
  order: 'desc',
  bounded: 'parts',
  changedAt: 'computed_at'
}
