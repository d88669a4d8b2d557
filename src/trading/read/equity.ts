// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, id, list, orNull, text, time } from './column.ts'
import { ofAccounts } from './scope.ts'

/** What each account was worth, every ten minutes. */
export const equity: Collection = {
  name: 'equity',
  columns: {
    account_id: id(),
    at: time('when its wallets were read'),
    currency: text('the valuation currency of the account'),
    equity: amount('cash + holdings + unrealised PnL, without what is in `unvalued`'),
    cash: amount('the valuation currency itself'),
    holdings: amount('all other assets, at their prices'),
    unrealized_pnl: amount('of the open perpetuals'),
    unvalued: list('assets and positions without a current price: `kind`, `name`, `amount`'),
    external_flow: orNull(
      amount('what came from outside since the item before; null while it is not known, or cannot be known')
    ),
    flow_at: orNull(time('when `external_flow` was computed'))
  },
  source: tx => tx`equity_history`,
  scope: ofAccounts(),
  selectedBy: ['account_id'],
  time: { column: 'at', kind: 'time' },
  currency: { column: 'currency', description: 'the valuation currency' },
  key: [
    ['at', 'timestamptz'],
    ['account_id', 'bigint']
  ],
  order: 'desc',
  bounded: 'parts',
  // Nothing else of a row changes.
  changedAt: 'flow_at'
}
