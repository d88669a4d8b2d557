// @FEAT:trading @COMP:service @TYPE:core
import type { Big } from 'big.js'
import type { TransactionSql } from '../database/client.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import type { OrderSide } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { anyOf } from './any-of.ts'
import { groupedBy } from './grouped.ts'
import { applyChange, type Execution, type Holding, NOTHING_HELD, quantityChange } from './position-accounting.ts'
import { isUntraded } from './untraded-executions.ts'

interface PositionKey {
  accountId: string
  /** Null for a position of the account itself, which no strategy holds. */
  strategyAccountId: string | null
  marketType: MarketType
  symbol: string
  positionSide: PositionSide
}

/** An execution to be booked: a new one, or one that is recorded (`executionId`) and has another fee now, or is removed. */
export interface Entry extends Execution, PositionKey {
  executionId: string | null
  /** Default false. */
  isRemoved?: boolean
  orderId: string
  pair: Pair
  exchangeTradeId: string
  executedAt: Date
  feeValue: Decimal | null
  /** Realised by it as its exchange reports, gross; absent where that is not known. */
  exchangePnl?: Decimal
}

/** An execution with what it realised and what was held before it. */
export interface BookedExecution {
  /** The entry that it came from; null for a recorded one that changed because of others. */
  entry: Entry | null
  executionId: string | null
  fee: Decimal
  feeAsset: string | null
  feeValue: Decimal | null
  realizedPnl: Decimal | null
  before: Holding
}

/** A position after its entries were applied. */
export interface BookedPosition {
  key: PositionKey
  pair: Pair
  holding: Holding
  /** By how much the position's realised PnL and fees change. */
  realizedPnl: Big
  fees: Big
  /** New executions, and recorded ones that changed. */
  executions: BookedExecution[]
  /** The ids of recorded executions that are removed. */
  removedIds: string[]
  /** The time of the earliest entry. */
  since: Date
}

interface KeyRow {
  /** The strategy on the account, or the account where no strategy holds the position. */
  holder_id: string
  market_type: MarketType
  symbol: string
  position_side: PositionSide
}

interface TimelineRow extends KeyRow {
  ref: number | null
  execution_id: string | null
  /** An opening position or an adjustment: it realises nothing, also when late executions change what was held before it. */
  is_untraded: boolean
  side: OrderSide
  price: Decimal
  quantity: Decimal
  fee: Decimal
  fee_asset: string | null
  fee_value: Decimal | null
  old_fee_value: Decimal | null
  old_realized_pnl: Decimal | null
  quantity_before: Decimal | null
  entry_price_before: Decimal | null
}

/**
 * Inserts entries among the executions of their positions, in the order of (executed_at, trade id), and computes from
 * there. Entries that are newer than all executions start from the current position, whatever its history; late ones
 * start from the holding at their place. Locks the positions in the order of their key, as every writer of several must.
 * Writes nothing.
 */
export async function bookEntries(tx: TransactionSql, entries: readonly Entry[]): Promise<BookedPosition[]> {
  const booked: BookedPosition[] = []
  for (const holders of [STRATEGIES, ACCOUNTS]) {
    const own = entries.filter(({ strategyAccountId }) => (strategyAccountId === null) === (holders === ACCOUNTS))
    if (own.length > 0) booked.push(...(await bookEntriesOf(tx, own, holders)))
  }
  return booked
}

/** Who holds positions, by the column of executions with their ids. */
type Holders = 'strategy_account_id' | 'account_id'
const STRATEGIES: Holders = 'strategy_account_id'
const ACCOUNTS: Holders = 'account_id'

async function bookEntriesOf(
  tx: TransactionSql,
  entries: readonly Entry[],
  holders: Holders
): Promise<BookedPosition[]> {
  const byPosition = groupedBy(entries, idOf)
  const rows = entries.map(rowOf)
  // Sent together and executed in sequence: each statement sees what was committed before the locks of those before it.
  const [, held, since] = await Promise.all([
    openPositions(
      tx,
      [...byPosition.values()].flatMap(([first]) => first ?? [])
    ),
    lockedHoldings(tx, rows, holders),
    timeline(tx, rows, holders, false)
  ])
  const recent = groupedBy(since, idOfRow)
  const startless = rows.filter(row => startOf(recent.get(idOfRow(row)) ?? [], NOTHING_HELD) === null)
  const whole = groupedBy(startless.length === 0 ? [] : await timeline(tx, startless, holders, true), idOfRow)

  return [...byPosition].flatMap(([id, own]) => {
    const [first] = own
    if (first === undefined) return []
    const { accountId, strategyAccountId, marketType, symbol, positionSide, pair } = first
    const key = { accountId, strategyAccountId, marketType, symbol, positionSide }
    const history = whole.get(id)
    const line = history ?? recent.get(id) ?? []
    const start = (history === undefined ? startOf(line, held.get(id) ?? NOTHING_HELD) : null) ?? NOTHING_HELD
    const since = new Date(Math.min(...own.map(({ executedAt }) => executedAt.getTime())))
    return { key, pair, since, ...replay(line, entries, start, marketType, pair.base) }
  })
}

/** Applies rows to a holding, one after the other. */
function replay(
  rows: readonly TimelineRow[],
  entries: readonly Entry[],
  start: Holding,
  marketType: MarketType,
  base: string
): Pick<BookedPosition, 'holding' | 'realizedPnl' | 'fees' | 'executions' | 'removedIds'> {
  let holding = start
  let realizedPnl = new Exact(0)
  let fees = new Exact(0)
  const executions: BookedExecution[] = []
  const removedIds: string[] = []
  for (const row of rows) {
    const entry = row.ref === null ? null : (entries[row.ref] ?? null)
    if (entry?.isRemoved) {
      realizedPnl = realizedPnl.minus(row.old_realized_pnl ?? 0)
      fees = fees.minus(row.old_fee_value ?? 0)
      if (row.execution_id !== null) removedIds.push(row.execution_id)
      continue
    }
    const execution = { ...row, feeAsset: row.fee_asset }
    const before = holding
    const step = applyChange(before, quantityChange(execution, marketType, base), new Exact(row.price))
    holding = step.holding
    const realized = row.is_untraded && step.realizedPnl !== null ? '0' : (step.realizedPnl?.toFixed() ?? null)
    realizedPnl = realizedPnl.plus(realized ?? 0).minus(row.old_realized_pnl ?? 0)
    fees = fees.plus(row.fee_value ?? 0).minus(row.old_fee_value ?? 0)
    if (entry === null && isUnchanged(row, before, realized)) continue
    const { fee, fee_asset: feeAsset, fee_value: feeValue, execution_id: executionId } = row
    executions.push({ entry, executionId, fee, feeAsset, feeValue, realizedPnl: realized, before })
  }
  return { holding, realizedPnl, fees, executions, removedIds }
}

/** The holding before the first row; null when only the whole history gives it, because other programs wrote the rows. */
function startOf(rows: readonly TimelineRow[], held: Holding): Holding | null {
  const recorded = rows.find(row => row.execution_id !== null)
  if (recorded === undefined) return held
  return recorded.quantity_before === null ? null : holdingOf(recorded.quantity_before, recorded.entry_price_before)
}

function isUnchanged(row: TimelineRow, before: Holding, realized: Decimal | null): boolean {
  return (
    sameNumber(row.old_realized_pnl, realized) &&
    sameNumber(row.quantity_before, before.quantity.toFixed()) &&
    sameNumber(row.entry_price_before, before.entryPrice?.toFixed() ?? null)
  )
}

function sameNumber(one: Decimal | null, other: Decimal | null): boolean {
  return one === null || other === null ? one === other : new Exact(one).eq(other)
}

function holdingOf(quantity: Decimal, entryPrice: Decimal | null): Holding {
  return { quantity: new Exact(quantity), entryPrice: entryPrice === null ? null : new Exact(entryPrice) }
}

/**
 * Inserts the positions that do not exist, without quantity, so that each has a row to lock. Waits for another transaction
 * that inserts one of them. Rows of positions are never deleted.
 */
async function openPositions(tx: TransactionSql, positions: readonly Entry[]): Promise<void> {
  const rows = positions.map(({ strategyAccountId, accountId, marketType, positionSide, pair }) => ({
    ...{ strategy_account_id: strategyAccountId, account_id: accountId },
    ...{ market_type: marketType, position_side: positionSide, ...pair }
  }))
  await tx`
    insert into strategy_positions (
      strategy_account_id, holder_account_id, market_type, symbol, position_side, base, quote, unrealized_pnl
    )
    select strategy_account_id, account_id, market_type, symbol, position_side, base, quote, 0
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r(
      strategy_account_id bigint, account_id bigint, market_type text, symbol text, position_side text, base text, quote text
    )
    order by strategy_account_id, account_id, market_type, symbol, position_side
    on conflict do nothing`
}

async function lockedHoldings(
  tx: TransactionSql,
  rows: readonly EntryRow[],
  holders: Holders
): Promise<Map<string, Holding>> {
  const holder = tx(holders === ACCOUNTS ? 'holder_account_id' : holders)
  const held = await tx<(KeyRow & { quantity: Decimal; entry_price: Decimal | null })[]>`
    select p.${holder} as holder_id, market_type, symbol, position_side, quantity, entry_price
    from strategy_positions p
    where p.${holder} = ${holdersOf(tx, rows)} and (p.${holder}, market_type, symbol, position_side) in (
      select holder_id, market_type, symbol, position_side from ${entriesIn(tx, rows)}
    ) ${isHeldBy(tx, holders)}
    order by p.${holder}, market_type, symbol, position_side for no key update`
  return new Map(held.map(row => [idOfRow(row), holdingOf(row.quantity, row.entry_price)]))
}

/**
 * The entries and, of their positions, the executions that were recorded since the earliest of them, in order.
 * Numeric trade ids of the same time are compared as numbers.
 *
 * @param whole since the beginning
 */
function timeline(
  tx: TransactionSql,
  rows: readonly EntryRow[],
  holders: Holders,
  whole: boolean
): Promise<TimelineRow[]> {
  return tx<TimelineRow[]>`
    with entry as materialized (
      select * from ${entriesIn(tx, rows)}
    ), since as (
      select holder_id, market_type, symbol, position_side,
        ${whole ? tx`'-infinity'::timestamptz` : tx`min(executed_at)`} as first_at
      from entry group by holder_id, market_type, symbol, position_side
    ), line as (
      select ref, null::bigint as execution_id, holder_id, market_type, symbol, position_side, order_id,
        exchange_trade_id, executed_at, side, price, quantity, fee, fee_asset, fee_value, null::numeric as old_fee_value,
        null::numeric as old_realized_pnl, null::numeric as quantity_before, null::numeric as entry_price_before
      from entry where execution_id is null
      union all
      select entry.ref, e.execution_id, e.${tx(holders)}, e.market_type, e.symbol, e.position_side, e.order_id,
        e.exchange_trade_id, e.executed_at, e.side, e.price, e.quantity,
        case when entry.ref is null then e.fee else entry.fee end,
        case when entry.ref is null then e.fee_asset else entry.fee_asset end,
        case when entry.ref is null then e.fee_value else entry.fee_value end,
        e.fee_value, e.realized_pnl, e.quantity_before, e.entry_price_before
      from since join trade_executions e on e.${tx(holders)} = since.holder_id and e.market_type = since.market_type
          and e.symbol = since.symbol and e.position_side = since.position_side
        left join entry on entry.execution_id = e.execution_id
      where e.executed_at >= since.first_at and e.${tx(holders)} = ${holdersOf(tx, rows)} ${isHeldBy(tx, holders)}
    )
    select ref, execution_id, ${isUntraded(tx)} as is_untraded, holder_id, market_type, symbol, position_side, side, price, quantity, fee,
      fee_asset, fee_value, old_fee_value, old_realized_pnl, quantity_before, entry_price_before
    from line
    order by holder_id, market_type, symbol, position_side,
      executed_at, length(exchange_trade_id), exchange_trade_id collate "C", order_id`
}

type EntryRow = ReturnType<typeof rowOf>

function rowOf(entry: Entry, ref: number) {
  return {
    ref,
    execution_id: entry.executionId,
    order_id: entry.orderId,
    holder_id: holderOf(entry),
    market_type: entry.marketType,
    symbol: entry.symbol,
    position_side: entry.positionSide,
    exchange_trade_id: entry.exchangeTradeId,
    executed_at: entry.executedAt,
    side: entry.side,
    price: entry.price,
    quantity: entry.quantity,
    fee: entry.fee,
    fee_asset: entry.feeAsset,
    fee_value: entry.feeValue
  }
}

function holdersOf(tx: TransactionSql, rows: readonly EntryRow[]) {
  return anyOf(
    tx,
    rows.map(row => row.holder_id)
  )
}

/** The positions and executions of an account without those of its strategies. */
function isHeldBy(tx: TransactionSql, holders: Holders) {
  return holders === ACCOUNTS ? tx`and strategy_account_id is null` : tx``
}

function holderOf({ strategyAccountId, accountId }: Pick<PositionKey, 'strategyAccountId' | 'accountId'>): string {
  return strategyAccountId ?? accountId
}

function entriesIn(tx: TransactionSql, rows: readonly EntryRow[]) {
  return tx`
    jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r(
      ref int, execution_id bigint, order_id bigint, holder_id bigint, market_type text, symbol text,
      position_side text, exchange_trade_id text, executed_at timestamptz, side text, price numeric, quantity numeric,
      fee numeric, fee_asset text, fee_value numeric
    )`
}

function idOf(entry: PositionKey): string {
  const { marketType, symbol, positionSide } = entry
  return `${holderOf(entry)} ${marketType} ${symbol} ${positionSide}`
}

function idOfRow({ holder_id, market_type, symbol, position_side }: KeyRow): string {
  return `${holder_id} ${market_type} ${symbol} ${position_side}`
}
