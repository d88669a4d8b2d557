// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { ExchangeName } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { type EquityPrices, equityOf, type Holding, type OpenPerpetual, valueIn } from './equity.ts'

/** A row is written once in this time. */
const EVERY = '10 minutes'
/** The job runs every 59 s: once in the end of each day, in which a row is written, too. */
const DAY_ENDS = '59 seconds'
/** Rows of one account whose flows one transaction computes. More are left for the next one. */
const FLOWS_AT_ONCE = 300
/** An entry that was recorded later than the flow of its time was computed: an adjustment. Found for so long. */
const LATE_ENTRIES = '1 day'

/** The wallets of a row were read in this time before it: calls and their order in the queue of the database take so long. */
const READ_BEFORE = '30 seconds'

/** An account whose equity is due, or the flows of earlier rows. */
export interface DueAccount {
  accountId: string
  exchange: ExchangeName
  /** The valuation currency. */
  currency: string
}

/** @param at default the transaction's time */
interface Moment {
  /** Whose days these are. */
  timeZone: string
  at?: Date | undefined
}

/**
 * The active accounts whose equity is due: ten minutes after the last row, in the last minute of a day, and for the first
 * time on a day; and those with rows whose flows can be computed now, because the ledgers were read.
 */
export async function dueAccounts(tx: TransactionSql, moment: Moment): Promise<ReadonlyMap<string, DueAccount>> {
  const rows = await tx<{ account_id: string; exchange: ExchangeName; currency: string | null }[]>`
    select a.account_id, a.exchange, a.valuation_currency as currency
    from ${accountsWithoutCredentials(tx)} a left join lateral (
      select at from equity_history h where h.account_id = a.account_id order by at desc limit 1
    ) last on true
    where a.is_active and (
      ${isDue(tx, moment)}
      or (select min(at) from equity_history h where h.account_id = a.account_id and flow_at is null)
        <= ${readUntil(tx, tx`a.account_id`)}
    )`
  return new Map(
    rows.map(({ account_id: accountId, exchange, currency }) => {
      const main = CATALOGUE[exchange].quoteCurrencies[0] ?? 'USDT'
      return [accountId, { accountId, exchange, currency: currency ?? main }]
    })
  )
}

/** What the transaction reads of an account. Amounts are decimal text. */
interface AccountState {
  due: boolean
  holdings: Holding[]
  flows: { at: string; known: boolean; amounts: Holding[] }[]
}

/**
 * Writes the equity of an account whose wallets were recorded in the same transaction, if it is due, and the external flows
 * of earlier rows whose ledgers have been read until then. An amount is valued at the price of now, a few minutes after it
 * moved. A flow is not known where an amount has no price, where a ledger is incomplete, where a wallet was opened, because
 * its money may have been there before, and where something moved while the wallets of a row were read, because the row may
 * be with or without it. Idempotent.
 *
 * @returns how many rows were written
 */
export async function recordEquity(
  tx: TransactionSql,
  { accountId, currency }: DueAccount,
  positions: readonly OpenPerpetual[],
  prices: EquityPrices,
  moment: Moment
): Promise<number> {
  const [state] = await tx<AccountState[]>`
    select ${isDue(tx, moment)} as due, ${holdingsOf(tx, accountId)} as holdings,
      ${flowsOf(tx, accountId)} as flows
    from (select) one left join lateral (
      select at from equity_history h where h.account_id = ${accountId} order by at desc limit 1
    ) last on true`
  if (state === undefined) throw new Error('the statement gave no row')
  const flows = state.flows.map(({ at, known, amounts }): { at: string; flow: Decimal | null } => ({
    at,
    flow: known ? valueIn(currency, amounts, prices) : null
  }))
  const { equity, cash, holdings, unrealizedPnl, unvalued } = equityOf(currency, state.holdings, positions, prices)
  const { count } = await tx`
    with flows as (
      update equity_history h set external_flow = f.flow, flow_at = now()
      from jsonb_to_recordset(${JSON.stringify(flows)}::text::jsonb) as f (at timestamptz, flow numeric)
      where h.account_id = ${accountId} and h.at = f.at
    )
    insert into equity_history (account_id, at, currency, equity, cash, holdings, unrealized_pnl, unvalued)
    select ${accountId}, ${momentOf(tx, moment)}, ${currency}, ${equity}::numeric, ${cash}::numeric, ${holdings}::numeric,
      ${unrealizedPnl}::numeric, ${JSON.stringify(unvalued)}::text::jsonb
    where ${state.due}::boolean
    on conflict do nothing`
  return count
}

function momentOf(tx: TransactionSql, { at }: Moment) {
  return tx`coalesce(${at?.toISOString() ?? null}::timestamptz, now())`
}

/** Whether a row is due, over the relation `last (at)`. */
function isDue(tx: TransactionSql, moment: Moment) {
  const now = momentOf(tx, moment)
  const begin = (days: number) =>
    tx`day_begin((${now} at time zone ${moment.timeZone}::text)::date + ${days}::int, ${moment.timeZone})`
  const dayEnds = tx`${begin(1)} - ${DAY_ENDS}::interval`
  return tx`(
    last.at is null or last.at <= ${now} - ${EVERY}::interval or (last.at < ${begin(0)} and last.at < ${now})
    or (${now} >= ${dayEnds} and last.at < ${dayEnds})
  )`
}

/** Until when the ledgers of all wallets of an account were read that hold something; null without a reading. */
function readUntil(tx: TransactionSql, accountId: ReturnType<typeof tx>) {
  return tx`(
    select case when count(*) = count(r.read_until) then min(r.read_until) end
    from (select distinct account_id, market_type from account_balances) b
    left join ledger_readings r on r.account_id = b.account_id and r.wallet = b.market_type
    where b.account_id = ${accountId}
  )`
}

function holdingsOf(tx: TransactionSql, accountId: string) {
  return tx`(
    select coalesce(jsonb_agg(jsonb_build_object('asset', asset, 'amount', total::text)), '[]')
    from (
      select asset, sum(total) as total from account_balances where account_id = ${accountId}
      group by asset having sum(total) <> 0
    ) held
  )`
}

/** The rows whose flows can be computed, or change because of late entries, with the amounts since the row before. */
function flowsOf(tx: TransactionSql, accountId: string) {
  const isFlow = tx`e.kind in ('opening', 'deposit', 'withdrawal', 'transfer', 'adjustment')`
  return tx`(
    select coalesce(jsonb_agg(jsonb_build_object(
      'at', row.at, 'known', prev.at is not null and not coalesce(moved.opens, false) and not exists (
        select from ledger_readings r cross join jsonb_array_elements(r.incomplete) gap
        where r.account_id = ${accountId} and (gap ->> 'from')::numeric < extract(epoch from row.at) * 1000
          and (gap ->> 'until')::numeric > extract(epoch from prev.at) * 1000
      ) and not exists (
        select from ledger_entries e
        where e.account_id = ${accountId} and e.wallet in ('SPOT', 'FUTURES')
          and e.kind in ('deposit', 'withdrawal', 'transfer') and (
            (e.at > row.at - ${READ_BEFORE}::interval and e.at <= row.at)
            or (e.at > prev.at - ${READ_BEFORE}::interval and e.at <= prev.at)
          )
      ), 'amounts', coalesce(moved.amounts, '[]')
    )), '[]')
    from (
      select at from equity_history
      where account_id = ${accountId} and flow_at is null and at <= ${readUntil(tx, tx`${accountId}::bigint`)}
      union
      select h.at from ledger_entries e cross join lateral (
        select h.at, h.flow_at from equity_history h where h.account_id = e.account_id and h.at >= e.at order by h.at limit 2
      ) h
      where e.account_id = ${accountId} and ${isFlow} and e.recorded_at > now() - ${LATE_ENTRIES}::interval
        and h.flow_at <= e.recorded_at
      order by at limit ${FLOWS_AT_ONCE}
    ) row
    left join lateral (
      select at from equity_history h where h.account_id = ${accountId} and h.at < row.at order by at desc limit 1
    ) prev on true
    left join lateral (
      select bool_or(kind = 'opening') as opens,
        jsonb_agg(jsonb_build_object('asset', asset, 'amount', amount::text)) as amounts
      from (
        select e.kind, e.asset, e.amount from ledger_entries e
        where e.account_id = ${accountId} and e.wallet in ('SPOT', 'FUTURES') and e.at > prev.at and e.at <= row.at
          and ${isFlow}
      ) flow
    ) moved on true
  )`
}
