/** Databases with accounts, strategies and executions, and runs of jobs on them. */
import { Big } from 'big.js'
import type { Database } from '../../src/database/database.ts'
import type { JobContext, JobResult } from '../../src/scheduler/job.ts'
import { TRANSACTION_DEADLINE_MS } from '../../src/scheduler/transaction.ts'
import { captureLog } from './app.ts'

/** The start of a run, and its faults. */
export interface RunOverrides
  extends Partial<Pick<JobContext, 'runId' | 'trigger' | 'date' | 'scheduledFor' | 'signal' | 'log'>> {
  /** Called before each transaction with its number from 1. An error that it throws ends the run. */
  before?: (transaction: number) => void
}

/** Runs a job on a database. @returns its result, and the reported progress */
export async function runJob(
  database: Database,
  job: (context: JobContext) => Promise<JobResult>,
  { before, date, ...rest }: RunOverrides = {}
): Promise<{ result: JobResult; progress: number[][]; transactions: number }> {
  const progress: number[][] = []
  let transactions = 0
  const result = await job({
    runId: 'run-1',
    jobId: 'job',
    trigger: 'schedule',
    scheduledFor: new Date(),
    signal: new AbortController().signal,
    log: captureLog('silent').logger,
    ...rest,
    ...(date !== undefined && { date }),
    progress: (done, total) => progress.push([done, total]),
    transaction: (work, { deadlineMs = TRANSACTION_DEADLINE_MS } = {}) => {
      transactions++
      before?.(transactions)
      return database.transaction(work, { deadlineMs })
    }
  })
  return { result, progress, transactions }
}

/** An execution; amounts are decimal text, times ISO 8601. */
export interface ExecutionRow {
  /** The index of a strategy account, from 0. */
  on?: number
  at: string
  /** The time of its recording. Default: a second after `at`. */
  recorded?: string
  currency?: string
  side?: 'BUY' | 'SELL'
  price?: string
  quantity?: string
  fee_value?: string | null
  /** Gross PnL; null when it closes nothing. */
  pnl?: string | null
  /** The net result of the round trip that it ends; null when it ends none. Default `pnl`. */
  roundTrip?: string | null
}

interface StrategyAccountRow {
  /** The indexes of a strategy and an account, from 0. */
  strategy: number
  account: number
  capital: string
  currency: string
}

interface AccountRow {
  exchange?: string
  name?: string
  is_testnet?: boolean
  is_active?: boolean
  state?: string
  /** The index of its owner, from 0. */
  owner?: number
}

/** The rows to insert: ids are counted from 1 in the order of the lists. */
export interface TradingRows {
  /** The Telegram chats of the users. */
  chats?: readonly (string | null)[]
  accounts?: readonly AccountRow[]
  strategyAccounts?: readonly StrategyAccountRow[]
}

/** Inserts users, accounts, strategies and strategy accounts; one of each by default. */
export function seedTrading(
  database: Database,
  {
    chats = [null],
    accounts = [{}],
    strategyAccounts = [{ strategy: 0, account: 0, capital: '1000', currency: 'USDT' }]
  }: TradingRows = {}
): Promise<void> {
  return database.transaction(async tx => {
    await tx`
      insert into users (user_id, username, password_hash, telegram_chat_id) overriding system value
      select n, 'user' || n, '', chat
      from jsonb_array_elements_text(${tx.json([...chats])}) with ordinality as c (chat, n)`
    const rows = accounts.map((account, i) => ({
      account_id: i + 1,
      user_id: (account.owner ?? 0) + 1,
      name: account.name ?? `account ${i + 1}`,
      exchange: account.exchange ?? 'BINANCE',
      is_testnet: account.is_testnet ?? false,
      is_active: account.is_active ?? true,
      state: account.state ?? 'ok'
    }))
    await tx`
      insert into accounts (account_id, user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id,
        is_testnet, is_active, state, created_at) overriding system value
      select account_id, user_id, name, exchange, '', '', 'key', is_testnet, is_active, state, '2000-01-01Z'
      from jsonb_to_recordset(${tx.json(rows)}) as a (account_id bigint, user_id bigint, name text, exchange text,
        is_testnet boolean, is_active boolean, state text)`
    const strategies = 1 + Math.max(...strategyAccounts.map(({ strategy }) => strategy))
    await tx`
      insert into strategies (strategy_id, user_id, name, market_type) overriding system value
      select n, 1, 'strategy ' || n, 'FUTURES' from generate_series(1, ${strategies}::int) n`
    await tx`
      insert into strategy_accounts (strategy_account_id, strategy_id, account_id, allocated_capital, capital_currency)
      overriding system value
      select n, (row->>'strategy')::int + 1, (row->>'account')::int + 1, (row->>'capital')::numeric, row->>'currency'
      from jsonb_array_elements(${tx.json(strategyAccounts.map(row => ({ ...row })))}) with ordinality as r (row, n)`
    await tx`
      insert into orders (order_id, strategy_account_id, account_id, market_type, symbol, exchange_symbol, side,
        order_type, quantity, status) overriding system value
      select strategy_account_id, strategy_account_id, account_id, 'FUTURES', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1,
        'filled' from strategy_accounts`
  })
}

/** Adds executions. */
export function trade(database: Database, executions: readonly ExecutionRow[]): Promise<void> {
  const rows = executions.map(({ on = 0, at, recorded, currency = 'USDT', side = 'SELL', ...rest }) => ({
    on: on + 1,
    at,
    recorded: recorded ?? new Date(Date.parse(at) + 1_000).toISOString(),
    currency,
    side,
    price: rest.price ?? '100',
    quantity: rest.quantity ?? '1',
    fee_value: rest.fee_value === undefined ? '0' : rest.fee_value,
    pnl: rest.pnl ?? null,
    round_trip: rest.roundTrip === undefined ? (rest.pnl ?? null) : rest.roundTrip
  }))
  return database.transaction(async tx => {
    await tx`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee_value, realized_pnl, round_trip_pnl, executed_at, recorded_at)
      select "on", "on", sa.account_id, 'FUTURES', gen_random_uuid(), 'BTC' || currency, currency, side, price,
        quantity, fee_value, pnl, round_trip, at, recorded
      from jsonb_to_recordset(${tx.json(rows)}) as e ("on" bigint, at timestamptz, recorded timestamptz, currency text,
        side text, price numeric, quantity numeric, fee_value numeric, pnl numeric,
        round_trip numeric)
      join strategy_accounts sa on sa.strategy_account_id = "on"`
  })
}

/** Inserts recorded balances. Default currency: USDT. Accounts by index, from 0. */
export function recordBalances(
  database: Database,
  balances: readonly { account?: number; at: string; currency?: string; total: string }[]
): Promise<void> {
  const rows = balances.map(({ account = 0, currency = 'USDT', at, total }) => ({
    account_id: account + 1,
    at,
    currency,
    total
  }))
  return database.transaction(async tx => {
    await tx`
      insert into account_balance_history (account_id, at, currency, total)
      select account_id, at, currency, total
      from jsonb_to_recordset(${tx.json(rows)}) as b (account_id bigint, at timestamptz, currency text, total numeric)`
  })
}

/** Sets positions of strategy accounts, by index, from 0. */
export function holdPositions(
  database: Database,
  positions: readonly { on?: number; symbol: string; currency?: string; quantity?: string; unrealized: string | null }[]
): Promise<void> {
  const rows = positions.map(({ on = 0, symbol, currency = 'USDT', quantity = '1', unrealized }) => ({
    on: on + 1,
    symbol,
    currency,
    quantity,
    unrealized
  }))
  return database.transaction(async tx => {
    await tx`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, unrealized_pnl)
      select "on", 'FUTURES', symbol, currency, quantity, unrealized
      from jsonb_to_recordset(${tx.json(rows)})
        as p ("on" bigint, symbol text, currency text, quantity numeric, unrealized numeric)
      on conflict (strategy_account_id, market_type, symbol, position_side) do update set
        quantity = excluded.quantity, unrealized_pnl = excluded.unrealized_pnl`
  })
}

const HOUR_MS = 3_600_000

/** A day in a zone where the local time is now within a given hour, so that the date does not change during a test. */
export interface LocalDay {
  timeZone: string
  /** The current day there, `YYYY-MM-DD`. */
  date: string
  /** A time of that day or, with negative hours, of an earlier one, ISO 8601. */
  at(hours: number): string
}

/** @param hour 0 to 23, not too near to the end of a day */
export function localDay(hour: number): LocalDay {
  const now = Date.now()
  const ahead = hour - new Date(now).getUTCHours()
  const offset = ahead > 14 ? ahead - 24 : ahead < -12 ? ahead + 24 : ahead
  const midnight = Math.floor((now + offset * HOUR_MS) / (24 * HOUR_MS)) * 24 * HOUR_MS
  return {
    // The names of these zones have the sign of POSIX: west is positive.
    timeZone: `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`,
    date: new Date(midnight).toISOString().slice(0, 10),
    at: hours => new Date(midnight + (hours - offset) * HOUR_MS).toISOString()
  }
}

/** Decimals without the zeros at their end. */
export function plain(row: Record<string, unknown> | undefined): Record<string, unknown> {
  const entries = Object.entries(row ?? {}).map(([name, value]) => [
    name,
    typeof value === 'string' && /^-?\d+\.\d+$/.test(value) ? new Big(value).toFixed() : value
  ])
  return Object.fromEntries(entries)
}
