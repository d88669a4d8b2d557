// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, id, text, time } from './column.ts'
import { MARKET_TYPE } from './row-columns.ts'
import { ofAccounts } from './scope.ts'

/** What the wallets of the accounts hold, as they were read last. */
export const balances: Collection = {
  name: 'balances',
  columns: {
    account_id: id(),
    market_type: { ...MARKET_TYPE, description: 'of the wallet; a unified account has one, `SPOT`' },
    asset: text(),
    free: amount(),
    locked: amount('in open orders'),
    total: amount(),
    synced_at: time('when the wallet was read')
  },
  source: tx => tx`account_balances`,
  scope: ofAccounts(),
  selectedBy: ['account_id'],
  currency: { column: 'asset', description: 'the asset' },
  key: [
    ['account_id', 'bigint'],
    ['market_type', 'text'],
    ['asset', 'text']
  ],
  order: 'asc',
  bounded: 'rows'
}
