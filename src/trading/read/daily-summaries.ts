// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, count, day, flag, id, orNull, text, time } from './column.ts'
import { ofAccounts } from './scope.ts'

/** The days of each account, one item per currency. */
export const dailySummaries: Collection = {
  name: 'daily-summaries',
  columns: {
    account_id: id(),
    date: day('a day of TIME_ZONE'),
    currency: text('amounts of different currencies are never added'),
    start_balance: orNull(amount('when the day began')),
    end_balance: orNull(amount()),
    realized_pnl: amount('gross; net is realised − fees + funding − interest'),
    unrealized_pnl: orNull(amount('of the open positions, at the end of the day')),
    fees: amount(),
    fees_unknown: count('executions whose fee has no known value: not in the amounts'),
    funding: amount('received less paid'),
    interest: amount('paid less received'),
    executions: count(),
    trades: count('round trips from flat to flat that ended'),
    wins: count('those above zero, net of fees and funding'),
    losses: count('those below zero'),
    win_rate: orNull(amount('wins ÷ trades')),
    volume: amount(),
    max_drawdown: orNull(amount('of the equity of the day, net of external flows')),
    equity: orNull(amount('the last one of the day; only in the valuation currency of the account')),
    equity_return: orNull(amount('time-weighted, net of external flows')),
    equity_gaps: count('spans of the day that are not in the return and the drawdown'),
    equity_unvalued: count('assets and positions that are not in the equity'),
    balances_as_of: orNull(time('when the oldest of the balances was read')),
    orders_as_of: orNull(time('when the oldest of the unfinished orders was checked')),
    marks_as_of: orNull(time('when the oldest of the positions was marked')),
    positions_unmarked: count('open positions without a mark: not in the unrealised PnL'),
    positions_old_mark: count('open positions whose mark was older than 15 minutes'),
    is_final: flag('false: the day so far'),
    computed_at: time()
  },
  source: tx => tx`daily_account_summaries`,
  scope: ofAccounts(),
  selectedBy: ['account_id'],
  time: { column: 'date', kind: 'day' },
  currency: { column: 'currency', description: 'the currency of the item' },
  key: [
    ['date', 'date'],
    ['account_id', 'bigint'],
    ['currency', 'text']
  ],
  order: 'desc',
  bounded: 'parts',
  changedAt: 'computed_at'
}
