// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { MarketType } from '../domain/market.ts'
import { anyOf } from './any-of.ts'
import {
  type Compared,
  comparedOf,
  comparison,
  hasUnreadFills,
  openDifferences,
  READ_BEFORE
} from './book-comparison.ts'

/** One unit of the eighth decimal: exchanges round amounts to it. */
const UNIT = '0.00000001'

/** A wallet of an account, by the catalogue of exchanges. */
export interface WalletToCompare {
  accountId: string
  wallet: MarketType
}

/**
 * `postponed`: the exchange's balances, ledger, fills or orders were not read since the last comparison. `closed`: the exchange
 * does not let the account read the wallet, and nothing is known of it.
 */
type CompareState = 'compared' | 'postponed' | 'without_opening' | 'closed'

export interface WalletComparison {
  wallets: (WalletToCompare & { state: CompareState; readAt: string | null })[]
  compared: Compared[]
}

/**
 * Compares what the wallets should hold, by their opening, entries and executions, with the balances that were read last.
 * Whatever is equal and has no recorded difference is not returned. Writes nothing.
 *
 * Two amounts are equal when they differ by at most one unit of the eighth decimal, and one more for each amount that the
 * exchange may have rounded.
 */
export async function compareWallets(
  tx: TransactionSql,
  wallets: readonly WalletToCompare[]
): Promise<WalletComparison> {
  const [row] = await tx<{ wallets: WalletRow[] | null; compared: Parameters<typeof comparedOf>[0][] | null }[]>`
    with ${walletStates(tx, wallets)}, ${walletReadings(tx)}, ${comparison(tx)}
    select
      (select jsonb_agg(jsonb_build_object('account_id', account_id::text, 'wallet', subject, 'state', state, 'read_at',
        to_char(read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) from states) as wallets,
      (select jsonb_agg(to_jsonb(c) || jsonb_build_object('account_id', c.account_id::text, 'difference_id',
        c.difference_id::text)) from compared c) as compared`
  return {
    wallets: (row?.wallets ?? []).map(({ account_id, wallet, state, read_at }) => ({
      accountId: account_id,
      wallet,
      state,
      readAt: read_at
    })),
    compared: (row?.compared ?? []).map(comparedOf)
  }
}

interface WalletRow {
  account_id: string
  wallet: MarketType
  state: CompareState
  read_at: string | null
}

/**
 * The accounts of opened wallets that were never compared. Their totals are to be counted first: a transaction that wrote
 * an execution at the time of the opening did not know of it.
 */
export async function neverCompared(tx: TransactionSql, wallets: readonly WalletToCompare[]): Promise<string[]> {
  const rows = await tx<{ account_id: string }[]>`
    select distinct w.account_id from ${walletsIn(tx, wallets)}
    where book_opened_at(w.account_id, w.wallet) is not null and not exists (
      select from book_checks c
      where c.account_id = w.account_id and c.subject = w.wallet and c.compared_at is not null
    )`
  return rows.map(({ account_id }) => account_id)
}

function walletsIn(tx: TransactionSql, wallets: readonly WalletToCompare[]) {
  const rows = wallets.map(({ accountId, wallet }) => ({ account_id: accountId, wallet }))
  return tx`jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as w (account_id bigint, wallet text)`
}

/** The relation `states`: which wallets can be compared. */
function walletStates(tx: TransactionSql, wallets: readonly WalletToCompare[]) {
  const accountIds = anyOf(
    tx,
    wallets.map(({ accountId }) => accountId)
  )
  return tx`
    last as materialized (
      select w.account_id, w.wallet as subject, book_opened_at(w.account_id, w.wallet) as opened_at, c.compared_at,
        r.read_at, coalesce(r.incomplete ? w.wallet, false) as is_incomplete,
        greatest(l.read_until, l.listed_until) as read_until
      from ${walletsIn(tx, wallets)}
      left join book_checks c on c.account_id = w.account_id and c.subject = w.wallet
      left join balance_readings r on r.account_id = w.account_id
      left join ledger_readings l on l.account_id = w.account_id and l.wallet = w.wallet
    ), states as materialized (
      select last.*, case
          when is_incomplete and not exists (
            select from account_balances b where b.account_id = last.account_id and b.market_type = subject
          ) and not exists (
            select from book_totals t where t.account_id = last.account_id and t.wallet = subject and t.amount <> 0
          ) then 'closed'
          when opened_at is null then 'without_opening'
          when read_at is null or read_at < opened_at or read_at <= compared_at or read_until is null
            or read_until <= compared_at or ${hasUnreadFills(tx, 'last.account_id', 'last.compared_at')}
          then 'postponed'
          else 'compared' end as state
      from last
    ), opened as materialized (
      select * from states where state = 'compared'
    ), held as (
      select account_id, market_type as subject, asset as name, total, synced_at
      from account_balances where account_id = ${accountIds}
    ), totals as (
      select account_id, wallet as subject, asset as name, sum(amount) as amount, sum(rounded) as rounded
      from book_totals where account_id = ${accountIds} group by account_id, wallet, asset
    )`
}

/**
 * The relations `reading` and `recent` of the wallets that are compared. An asset that an incomplete reading does not list
 * is not compared. `offset 0` makes Postgres find the few entries and executions by an index.
 */
function walletReadings(tx: TransactionSql) {
  return tx`
    listed as materialized (
      select account_id, subject, name, coalesce(t.amount, 0) as ours_now, coalesce(h.total, 0) as theirs, o.read_at,
        ${UNIT}::numeric * (1 + coalesce(t.rounded, 0)) as tolerance
      from held h full join totals t using (account_id, subject, name) join opened o using (account_id, subject)
      where coalesce(h.synced_at >= o.read_at, not o.is_incomplete)
    ), known as materialized (
      select d.* from ${openDifferences(tx)} d join opened using (account_id, subject)
    ), reading as (
      select *, '' as side, null::bigint as difference_id from listed
      union all
      select l.account_id, l.subject, l.name, l.ours_now, d.theirs, d.read_at, l.tolerance, '', d.difference_id
      from known d join listed l using (account_id, subject, name)
    ), since as materialized (
      select o.account_id, o.subject, a.exchange, greatest(
          o.opened_at,
          least(o.read_at, (
            select min(d.read_at) from known d where d.account_id = o.account_id and d.subject = o.subject
          )) - ${READ_BEFORE}::interval
        ) as at
      from opened o join ${accountsWithoutCredentials(tx)} a using (account_id)
    ), recent as materialized (
      select account_id, subject, name, '' as side, at, sum(amount) as amount
      from (
        select s.account_id, s.subject, c.asset as name, e.executed_at as at, c.amount
        from since s cross join lateral (
          select * from trade_executions e where e.account_id = s.account_id and e.executed_at > s.at
            and book_wallet(s.exchange, e.market_type) = s.subject
          offset 0
        ) e
        cross join lateral execution_changes(
          e.market_type, e.base, e.quote, e.side, e.price, e.quantity, e.fee, e.fee_asset,
          coalesce(e.exchange_realized_pnl, e.realized_pnl)
        ) c
        union all
        select s.account_id, s.subject, e.asset, e.at, e.amount
        from since s cross join lateral (
          select * from ledger_entries e where e.account_id = s.account_id and e.wallet = s.subject and e.at > s.at
            and e.kind not in ('opening', 'adjustment')
          offset 0
        ) e
      ) changes
      group by account_id, subject, name, at
    )`
}
