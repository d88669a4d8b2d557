// @FEAT:trading @COMP:service @TYPE:core
import type { Account } from '../accounts/account.ts'
import { SECOND } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { Pair } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { recountBooks } from './book-totals.ts'
import type { FillReading, Holdings } from './fill-readings.ts'
import { OPENING } from './untraded-executions.ts'
import { bookUntraded, endedHoldings, type Holder, type UntradedChange } from './untraded-positions.ts'

/** Upbit and Bithumb write times in whole seconds. */
const MARGIN_MS = SECOND

/** A reading of holdings that is not recorded yet. */
export type PendingOpening = FillReading & { opening: Holdings }

/**
 * Whether the holdings that were read can be recorded. `pending`: an execution or an entry of before the end of the reading
 * may not be recorded yet; a ledger that was never read is not waited for. `disturbed`: something was executed or changed a wallet while they were read, so that they are of no
 * one moment and must be read again.
 */
export async function openingState(
  tx: TransactionSql,
  accountId: string,
  openings: readonly PendingOpening[]
): Promise<'ready' | 'pending' | 'disturbed'> {
  const from = new Date(Math.min(...openings.map(({ opening }) => opening.from)) - MARGIN_MS)
  const until = Math.max(...openings.map(({ opening }) => opening.until)) + MARGIN_MS
  if (openings.some(({ readUntil }) => readUntil <= until)) return 'pending'
  const end = new Date(until)
  const [row] = await tx<{ unread: boolean; disturbed: boolean }[]>`
    select exists (
        select from orders
        where account_id = ${accountId} and exchange_order_id is not null and (
          status in ('pending', 'open', 'partially_filled')
          and (coalesce(last_checked_at, created_at) <= ${end} or fill_checks > 0)
        )
      ) or exists (
        select from ledger_readings where account_id = ${accountId} and listed_until <= ${end}
      ) as unread,
      exists (
        select from trade_executions where account_id = ${accountId} and executed_at between ${from} and ${end}
      ) or exists (
        select from ledger_entries
        where account_id = ${accountId} and wallet in ('SPOT', 'FUTURES') and at between ${from} and ${end}
      ) as disturbed`
  if (row?.disturbed) return 'disturbed'
  return row?.unread === false ? 'ready' : 'pending'
}

/** The pair of a symbol of perpetuals, as the exchange writes it; null when it is not known. */
export type PairOfSymbol = (exchangeSymbol: string) => Pair | null

/** Whether an opening was recorded, and the symbol that prevented it. */
export interface RecordedOpening {
  outcome: 'opened' | 'unknown_pair' | 'without_price'
  symbol?: string
}

/**
 * Records what the account held when it was read first: one opening entry for each asset of each wallet, of the amount
 * held, and one opening position for what the exchange holds and the recorded executions of before do not explain. An empty
 * wallet has an entry of zero, so that the begin of its books is known. Everything that is executed or entered after the
 * reading counts on top of it. Idempotent.
 *
 * An opening position is an execution at the entry price of the exchange, otherwise at the mark price, which is flagged. It
 * belongs to the strategy that has a position or an order of the symbol, otherwise to the account itself. What we have of a
 * position in excess of the exchange ends at its own entry price: what it realised is not known. Openings change no wallet.
 *
 * @returns `unknown_pair` when base and quote of a position are not known, `without_price` when no price of it is: then
 * nothing was recorded
 */
export async function recordOpening(
  tx: TransactionSql,
  account: Pick<Account, 'accountId' | 'exchange'>,
  openings: readonly PendingOpening[],
  pairOfSymbol: PairOfSymbol
): Promise<RecordedOpening> {
  const remainders: UntradedChange[] = []
  for (const { marketType, opening } of openings) {
    if (marketType !== 'FUTURES') continue
    for (const row of await positionsAt(tx, account.accountId, opening)) {
      const pair = pairOfSymbol(row.exchange_symbol)
      if (pair === null) return { outcome: 'unknown_pair', symbol: row.symbol }
      const changes = remaindersOf(row, pair, new Date(opening.until))
      if (changes === null) return { outcome: 'without_price', symbol: row.symbol }
      remainders.push(...changes)
    }
  }
  await bookUntraded(tx, account.accountId, remainders, { orderType: 'OPENING', tradeId: id => `${OPENING}${id}` })
  for (const one of openings) await recordEntries(tx, account, one)
  await recountBooks(tx, [account.accountId])
  return { outcome: 'opened' }
}

async function recordEntries(
  tx: TransactionSql,
  { accountId, exchange }: Pick<Account, 'accountId' | 'exchange'>,
  { marketType, opening }: PendingOpening
): Promise<void> {
  const at = new Date(opening.until)
  const [quote = 'USDT'] = CATALOGUE[exchange].quoteCurrencies
  const held = opening.balances?.filter(({ total }) => !new Exact(total).eq(0)) ?? null
  const entries = held === null ? [] : held.length > 0 ? held : [{ asset: quote, total: '0' }]
  await tx`
    with opened as (
      update fill_readings set opened_at = ${at} where account_id = ${accountId} and market_type = ${marketType}
    )
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    select ${accountId}, ${marketType}, asset, total, 'opening', 'opening', asset, ${at}
    from jsonb_to_recordset(${JSON.stringify(entries)}::text::jsonb) as r (asset text, total numeric)
    order by asset
    on conflict (account_id, wallet, kind, exchange_entry_id) do nothing`
}

interface PositionRow {
  symbol: string
  exchange_symbol: string
  position_side: PositionSide
  theirs: Decimal | null
  entry_price: Decimal | null
  mark_price: Decimal | null
  /** Who held how much of it then, by the recorded executions: the largest first. */
  holders: Holder[]
  /** The strategy with the newest order of the symbol. */
  ordered_by: string | null
}

/** The positions that the exchange or the books had at the end of a reading. */
async function positionsAt(tx: TransactionSql, accountId: string, opening: Holdings): Promise<PositionRow[]> {
  const at = new Date(opening.until)
  const rows = opening.positions.map(position => ({
    symbol: position.symbol,
    exchange_symbol: position.exchangeSymbol,
    position_side: position.positionSide,
    quantity: position.quantity,
    entry_price: position.entryPrice,
    mark_price: position.markPrice
  }))
  return await tx<PositionRow[]>`
    with theirs as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r (
        symbol text, exchange_symbol text, position_side text, quantity numeric, entry_price numeric, mark_price numeric
      )
    ), since as materialized (
      select strategy_account_id, symbol, position_side, sum(case when side = 'BUY' then quantity else -quantity end) as quantity
      from trade_executions
      where account_id = ${accountId} and market_type = 'FUTURES' and executed_at > ${at}
      group by strategy_account_id, symbol, position_side
    ), ours as materialized (
      select p.strategy_account_id, p.symbol, p.position_side, p.quantity - coalesce(s.quantity, 0) as quantity, p.entry_price
      from strategy_positions p left join since s on s.symbol = p.symbol and s.position_side = p.position_side
        and s.strategy_account_id is not distinct from p.strategy_account_id
      where p.holder_account_id = ${accountId} and p.market_type = 'FUTURES'
    )
    select symbol, position_side, t.quantity::text as theirs, t.entry_price::text as entry_price,
      t.mark_price::text as mark_price, coalesce(t.exchange_symbol, ordered.exchange_symbol, symbol) as exchange_symbol,
      ordered.strategy_account_id as ordered_by, (
        select coalesce(jsonb_agg(
          jsonb_build_object('id', strategy_account_id::text, 'quantity', quantity::text, 'entry_price', entry_price::text)
          order by abs(quantity) desc, strategy_account_id
        ), '[]')
        from ours o where o.symbol = keys.symbol and o.position_side = keys.position_side
      ) as holders
    from (select symbol, position_side from theirs union select symbol, position_side from ours where quantity <> 0) keys
    left join theirs t using (symbol, position_side)
    left join lateral (
      select exchange_symbol, strategy_account_id from orders o
      where o.account_id = ${accountId} and o.market_type = 'FUTURES' and o.symbol = keys.symbol
        and o.strategy_account_id is not null
      order by o.created_at desc, o.order_id desc limit 1
    ) ordered on true
    order by symbol, position_side`
}

/**
 * What changes our positions into those of the exchange. Positions in excess end at their own entry price, the largest
 * first: none of them crosses zero, and nothing is realised. What remains is opened at the price of the exchange.
 *
 * @returns null when the price of one of them is not known: at an invented one, the position would have an invented PnL
 */
function remaindersOf(row: PositionRow, pair: Pair, at: Date): UntradedChange[] | null {
  const { symbol, exchange_symbol: exchangeSymbol, position_side: positionSide, holders } = row
  const of = { symbol, exchangeSymbol, positionSide, pair, at }
  const ours = holders.reduce((sum, { quantity }) => sum.plus(quantity), new Exact(0))
  const { ended, rest } =
    row.theirs === null ? allEnded(holders) : endedHoldings(holders, new Exact(row.theirs).minus(ours))
  const remainders: UntradedChange[] = []
  const listed = { price: row.entry_price ?? row.mark_price, isMarkPrice: row.entry_price === null }
  for (const { holder, quantity } of ended) {
    // A position that was closed since has no entry price any more.
    const own = holder.entry_price === null ? listed : { price: holder.entry_price, isMarkPrice: false }
    if (own.price === null) return null
    remainders.push({ ...of, ...own, price: own.price, quantity: quantity.toFixed(), strategyAccountId: holder.id })
  }
  if (rest.eq(0)) return remainders
  if (listed.price === null) return null
  const strategyAccountId = holders.find(({ id }) => id !== null)?.id ?? row.ordered_by
  return [...remainders, { ...of, ...listed, price: listed.price, quantity: rest.toFixed(), strategyAccountId }]
}

/** Where the exchange has no position, ours end even if they add up to zero. */
function allEnded(holders: readonly Holder[]): ReturnType<typeof endedHoldings> {
  const ended = holders.map(holder => ({ holder, quantity: new Exact(holder.quantity).neg() }))
  return { ended: ended.filter(({ quantity }) => !quantity.eq(0)), rest: new Exact(0) }
}
