// @FEAT:trading @COMP:job @TYPE:helper
import type { Account } from '../accounts/account.ts'
import type { TransactionSql } from '../database/client.ts'
import type { MarketType } from '../domain/market.ts'
import type { Pair } from '../domain/pair.ts'
import type { JobContext } from '../scheduler/job.ts'
import { type FillReading, type Holdings, recordHoldings } from '../trading/fill-readings.ts'
import { openingState, type PendingOpening, recordOpening } from '../trading/openings.ts'
import { usedSymbols } from '../trading/unknown-orders.ts'

interface OpeningServices {
  log: JobContext['log']
  transaction: <T>(work: (tx: TransactionSql) => Promise<T>) => Promise<T>
  holdings: (account: Account, marketType: MarketType) => Promise<Holdings>
  pairOf: (account: Account, marketType: MarketType, exchangeSymbol: string) => Promise<Pair | null>
}

/**
 * Records what an account held when it was read first, if it is known for one moment and with a price of each position.
 * Otherwise nothing is recorded: a later run does it, with holdings that are read again where these cannot be recorded.
 */
export async function openAccount(
  account: Account,
  readings: readonly FillReading[],
  { log, transaction, holdings, pairOf }: OpeningServices
): Promise<'opened' | 'without_price' | 'pending'> {
  const pending = readings.filter((reading): reading is PendingOpening => reading.opening !== null)
  if (pending.length === 0) return 'pending'
  const { accountId, exchange } = account
  const pairs = new Map<string, Pair | null>()
  const positions = pending.flatMap(({ opening }) => opening.positions)
  const held = await transaction(tx => usedSymbols(tx, { accountId, marketType: 'FUTURES' }))
  for (const symbol of new Set([...positions.map(({ exchangeSymbol }) => exchangeSymbol), ...held.symbols])) {
    pairs.set(symbol, await pairOf(account, 'FUTURES', symbol))
  }
  const { outcome, symbol } = await transaction(async tx => {
    const state = await openingState(tx, accountId, pending)
    if (state !== 'ready') return { outcome: state, symbol: undefined }
    return await recordOpening(tx, { accountId, exchange }, pending, one => pairs.get(one) ?? null)
  })
  if (outcome === 'opened') return outcome
  if (outcome === 'pending' || outcome === 'unknown_pair') return 'pending'
  if (outcome === 'without_price') log.warn({ account_id: accountId, exchange, symbol }, 'opening has no price')
  for (const { marketType } of pending) {
    const current = await holdings(account, marketType)
    await transaction(tx => recordHoldings(tx, accountId, marketType, current))
  }
  return outcome === 'without_price' ? 'without_price' : 'pending'
}
