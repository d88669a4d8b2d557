// @FEAT:trading @COMP:service @TYPE:core
import type { Collection } from './collection.ts'
import { amount, id, orNull, text, time } from './column.ts'
import { ofAccounts } from './scope.ts'

/** What changed the wallets of the accounts besides fills. */
export const ledger: Collection = {
  name: 'ledger',
  columns: {
    entry_id: id(),
    account_id: id(),
    wallet: text({ values: ['SPOT', 'FUTURES'] }),
    asset: text(),
    amount: amount('by how much it changed the total of the wallet'),
    kind: text({
      description: '`opening` and `adjustment` are recorded by this service, all others are listed by the exchange',
      values: [
        ...['opening', 'funding', 'deposit', 'withdrawal', 'transfer', 'interest', 'borrow', 'repay', 'rebate'],
        ...['commission', 'liquidation', 'conversion', 'dividend', 'adjustment', 'other']
      ]
    }),
    exchange_kind: text('the word of the exchange'),
    exchange_entry_id: text(),
    symbol: orNull(text('in the spelling of the exchange')),
    at: time(),
    recorded_at: time()
  },
  source: tx => tx`ledger_entries`,
  scope: ofAccounts(),
  selectedBy: ['account_id'],
  time: { column: 'at', kind: 'time' },
  currency: { column: 'asset', description: 'the asset' },
  key: [
    ['at', 'timestamptz'],
    ['entry_id', 'bigint']
  ],
  order: 'desc',
  bounded: 'rows'
}
