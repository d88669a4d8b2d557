// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../../accounts/account-table.ts'
import type { TransactionSql } from '../../database/client.ts'
import type { Collection } from './collection.ts'
import { amount, type Fragment, id, orNull, text, time } from './column.ts'
import { ofAccounts, type Scope } from './scope.ts'

/** What the accounts hold by our books and by their exchanges: an item per asset of a wallet, and per position. */
export const books: Collection = {
  name: 'books',
  columns: {
    account_id: id(),
    wallet: orNull(text({ description: 'of an asset', values: ['SPOT', 'FUTURES'] })),
    asset: orNull(text()),
    market_type: orNull(text({ description: 'of a position', values: ['SPOT', 'FUTURES'] })),
    symbol: orNull(text()),
    position_side: orNull(text({ values: ['BOTH', 'LONG', 'SHORT'] })),
    ours: orNull(
      amount('opening + entries + executions, or the quantity of the position; null before the books were opened')
    ),
    theirs: orNull(amount('of the exchange; of a position only while it differs, because it is not stored otherwise')),
    difference: orNull(
      amount('theirs − ours in the last comparison; 0 within the smallest step; null when nothing was compared')
    ),
    since: orNull(time('since when the difference exists')),
    reported_at: orNull(time('when the difference was reported; null while it is tolerated')),
    read_at: orNull(time('when `theirs` was read')),
    compared_at: orNull(time('the reading that was compared last; null before the first comparison'))
  },
  source: booksOf,
  scope: always(ofAccounts()),
  selectedBy: ['account_id'],
  currency: { column: 'asset', description: 'the asset; items of positions have none' },
  key: [
    ['account_id', 'bigint'],
    ['subject', 'text'],
    ['name', 'text'],
    ['side', 'text']
  ],
  order: 'asc'
}

/** A scope that has a partition for all accounts, too: the source is made for each account. */
function always(scope: Scope): Scope {
  return (tx, selection) =>
    scope(tx, selection) ?? {
      column: 'account_id',
      ids: tx`select account_id as id from ${accountsWithoutCredentials(tx)} a order by account_id`
    }
}

/**
 * The books of the account `id`. A recorded difference has the values that were compared. Without one the values are the
 * present ones, which were equal when they were compared.
 */
function booksOf(tx: TransactionSql, id: Fragment | undefined): Fragment {
  const account = id ?? tx`null::bigint`
  return tx`(
    select ${account} as account_id, k.wallet as subject, k.asset as name, '' as side, k.wallet, k.asset,
      null as market_type, null as symbol, null as position_side,
      coalesce(d.ours, case when t.amount is not null or c.compared_at is not null then coalesce(t.amount, 0) end) as ours,
      coalesce(d.theirs, b.total) as theirs,
      coalesce(d.difference, case when c.compared_at is not null then 0 end) as difference,
      d.since, d.unexplained_at as reported_at, coalesce(d.read_at, b.synced_at) as read_at, c.compared_at
    from (
      select wallet, asset from book_totals where account_id = ${account} and amount <> 0
      union
      select market_type, asset from account_balances where account_id = ${account} and total <> 0
      union
      select wallet, asset from book_differences where account_id = ${account} and explained_at is null and wallet is not null
    ) k
    left join (
      select wallet, asset, sum(amount) as amount from book_totals where account_id = ${account} group by wallet, asset
    ) t using (wallet, asset)
    left join account_balances b on b.account_id = ${account} and b.market_type = k.wallet and b.asset = k.asset
    left join book_checks c on c.account_id = ${account} and c.subject = k.wallet
    left join book_differences d
      on d.account_id = ${account} and d.wallet = k.wallet and d.asset = k.asset and d.explained_at is null
    union all
    select ${account}, 'POSITIONS', k.symbol, k.position_side, null, null, 'FUTURES', k.symbol, k.position_side,
      coalesce(d.ours, p.quantity, 0), d.theirs,
      coalesce(d.difference, case when c.compared_at is not null then 0 end),
      d.since, d.unexplained_at, d.read_at, c.compared_at
    from (
      select symbol, position_side from strategy_positions
      where holder_account_id = ${account} and market_type = 'FUTURES' and quantity <> 0
      union
      select symbol, position_side from book_differences
      where account_id = ${account} and explained_at is null and symbol is not null
    ) k
    left join (
      select symbol, position_side, sum(quantity) as quantity from strategy_positions
      where holder_account_id = ${account} and market_type = 'FUTURES' and quantity <> 0
      group by symbol, position_side
    ) p using (symbol, position_side)
    left join book_checks c on c.account_id = ${account} and c.subject = 'POSITIONS'
    left join book_differences d on d.account_id = ${account} and d.symbol = k.symbol
      and d.position_side = k.position_side and d.explained_at is null
  )`
}
