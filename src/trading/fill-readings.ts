// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Balance } from '../domain/balance.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { Position } from '../domain/position.ts'

/** What an account held on a market when it was read first, as it is stored in `fill_readings.opening`. */
export interface Holdings {
  /** The times between which it was read, by the clock of the exchange. */
  from: Millis
  until: Millis
  /** Null for a market without a wallet of its own. */
  balances: Pick<Balance, 'asset' | 'total'>[] | null
  positions: Pick<Position, 'symbol' | 'exchangeSymbol' | 'positionSide' | 'quantity' | 'entryPrice' | 'markPrice'>[]
}

/** A period whose fills the exchange does not list any more. */
export interface MissedPeriod {
  from: Millis
  until: Millis
}

/** How far the fills of an account were read on a market. */
export interface FillReading {
  accountId: string
  marketType: MarketType
  readUntil: Millis
  /** Until it is recorded; null afterwards. */
  opening: Holdings | null
  /** When the books of the market begin: the end of the reading of its holdings; null before. */
  openedAt: Millis | null
}

/** When the books of a market begin, or may begin. Fills of before are a part of the opening. */
export function beginOf({ openedAt, opening }: FillReading): Millis {
  return openedAt ?? opening?.from ?? Number.NEGATIVE_INFINITY
}

/** The readings of all accounts, those of the longest-waiting account first. */
export async function fillReadings(tx: TransactionSql): Promise<FillReading[]> {
  const rows = await tx<
    {
      account_id: string
      market_type: MarketType
      read_until: Date
      opening: Holdings | null
      opened_at: Date | null
    }[]
  >`
    select account_id, market_type, read_until, case when opened_at is null then opening end as opening, opened_at
    from fill_readings order by min(attempted_at) over (partition by account_id), account_id, market_type desc`
  return rows.map(row => ({
    accountId: row.account_id,
    marketType: row.market_type,
    readUntil: row.read_until.getTime(),
    opening: row.opening,
    openedAt: row.opened_at?.getTime() ?? null
  }))
}

/**
 * Records what an account holds on a market. Its fills are read from the begin of that reading on. A reading that is not
 * recorded as an opening yet is replaced; one that is stays. Idempotent.
 */
export async function recordHoldings(
  tx: TransactionSql,
  accountId: string,
  marketType: MarketType,
  holdings: Holdings
): Promise<void> {
  await tx`
    insert into fill_readings as known (account_id, market_type, read_until, opening)
    values (${accountId}, ${marketType}, ${new Date(holdings.from)}, ${JSON.stringify(holdings)}::text::jsonb)
    on conflict (account_id, market_type) do update set opening = excluded.opening where known.opened_at is null`
}

/** Records that the fills of an account were read on a market until a time, which never decreases. Idempotent. */
export async function recordFillsRead(
  tx: TransactionSql,
  { accountId, marketType }: Pick<FillReading, 'accountId' | 'marketType'>,
  readUntil: Millis,
  missed: MissedPeriod | null
): Promise<void> {
  const period = JSON.stringify(missed === null ? [] : [missed])
  await tx`
    update fill_readings set read_until = greatest(read_until, ${new Date(readUntil)}), attempted_at = now(),
      incomplete = case when incomplete @> ${period}::text::jsonb then incomplete else incomplete || ${period}::text::jsonb end
    where account_id = ${accountId} and market_type = ${marketType}`
}

/** Records that the fills of an account could not be read now. Idempotent. */
export async function recordFillsAttempt(tx: TransactionSql, accountId: string): Promise<void> {
  await tx`update fill_readings set attempted_at = now() where account_id = ${accountId}`
}
