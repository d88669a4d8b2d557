// @FEAT:trading @COMP:job @TYPE:helper
import type { Account } from '../accounts/account.ts'
import { DAY } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import type { Millis } from '../domain/millis.ts'
import type { AccountFillsRange, CallOptions } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { beginOf, type FillReading } from '../trading/fill-readings.ts'
import { followSymbols, recordSymbolSearched, recordSymbolsRead, symbolsToSearch } from '../trading/fill-symbols.ts'
import { groupedBy } from '../trading/grouped.ts'
import { usedSymbols } from '../trading/unknown-orders.ts'

/** A new symbol has so much time at most between two checkpoints. */
const STEP_MS = 30 * DAY
/** New symbols that have one checkpoint. */
const SYMBOLS_PER_STEP = 20
/** Symbols that are searched for the cause of a difference: of an account, and of all accounts. One costs 20 of 6,000. */
const SEARCHED = { perAccount: 20, perRun: 60 }

/** Reads and books the fills of symbols in a range. `unsettled`: the time of the first fill that must be read again. */
export type BookSymbols = (
  range: AccountFillsRange,
  options?: CallOptions
) => Promise<{ isWhole: boolean; unsettled: Millis }>

interface Progress {
  /** Until when the market was read. */
  readUntil: Millis
  /** The exchange lists no fills of before. */
  reach: Millis
  book: BookSymbols
}

/** The symbols of a market: those that are read with it, and those whose fills of before are not read yet. */
interface Followed {
  current: string[]
  behind: { symbol: string; readUntil: Millis }[]
}

/**
 * Which symbols a run reads where the exchange lists fills by symbol only. A symbol that is new is read once from the begin
 * of the books to where its market is, with checkpoints of its own, and with the market from then on.
 */
export class SymbolFills {
  readonly #instruments: InstrumentSource
  readonly #signal: AbortSignal
  readonly #transaction: <T>(work: (tx: TransactionSql) => Promise<T>) => Promise<T>
  /** Symbols that were searched for the cause of a difference. */
  searched = 0

  constructor(services: {
    instruments: InstrumentSource
    signal: AbortSignal
    transaction: <T>(work: (tx: TransactionSql) => Promise<T>) => Promise<T>
  }) {
    this.#instruments = services.instruments
    this.#signal = services.signal
    this.#transaction = services.transaction
  }

  /** The symbols of the account: those of orders, and on spot the pairs of two assets that it held. */
  async followed(account: Account, reading: FillReading): Promise<Followed> {
    const used = await this.#transaction(tx => usedSymbols(tx, reading))
    const symbols = new Set(used.symbols)
    if (reading.marketType === 'SPOT') {
      for (const { base, quote, exchangeSymbol } of await this.#listed(account, reading)) {
        if (used.assets.has(base) && used.assets.has(quote)) symbols.add(exchangeSymbol)
      }
    }
    const begin = beginOf(reading)
    const isNew = reading.readUntil <= begin
    const followed = await this.#transaction(tx => followSymbols(tx, reading, symbols, isNew ? null : begin))
    return {
      current: followed.flatMap(({ symbol, readUntil }) => (readUntil === null ? symbol : [])),
      behind: followed.flatMap(({ symbol, readUntil }) => (readUntil === null ? [] : { symbol, readUntil }))
    }
  }

  /** Reads the symbols that are behind. @returns until when all symbols are read */
  async catchUp(
    reading: FillReading,
    { symbols, readUntil, reach, book }: Progress & { symbols: Followed }
  ): Promise<Millis> {
    let first = readUntil
    for (const group of groupedBy(symbols.behind, one => one.readUntil).values()) {
      for (let index = 0; index < group.length; index += SYMBOLS_PER_STEP) {
        const some = group.slice(index, index + SYMBOLS_PER_STEP).map(({ symbol }) => symbol)
        const begin = Math.max(group[0]?.readUntil ?? reach, reach)
        first = Math.min(first, await this.#catchUp(reading, some, begin, { readUntil, reach, book }))
      }
    }
    return first
  }

  async #catchUp(
    reading: FillReading,
    symbols: readonly string[],
    begin: Millis,
    { readUntil, book }: Progress
  ): Promise<Millis> {
    for (let from = begin; ; ) {
      const until = Math.min(from + STEP_MS, readUntil)
      const { isWhole, unsettled } = await book({ from, until, symbols, onlySymbols: true })
      if (!isWhole) return from
      const checkpoint = Math.min(until, unsettled)
      const isDone = checkpoint >= readUntil
      await this.#transaction(tx => recordSymbolsRead(tx, reading, symbols, isDone ? null : checkpoint))
      if (isDone || checkpoint < until) return checkpoint
      from = until
    }
  }

  /**
   * Searches other symbols of spot for the cause of reported differences: what was bought and sold between two readings of
   * the balances is in none of them. A few in each run, and only while the rate limit has room.
   */
  async search(account: Account, reading: FillReading, { readUntil, reach, book }: Progress): Promise<void> {
    if (reading.marketType !== 'SPOT' || reading.openedAt === null || this.searched >= SEARCHED.perRun) return
    const listed = await this.#listed(account, reading)
    const atMost = Math.min(SEARCHED.perAccount, SEARCHED.perRun - this.searched)
    const symbols = await this.#transaction(tx => symbolsToSearch(tx, reading, listed, atMost))
    try {
      for (const { symbol, readUntil: searchedUntil } of symbols) {
        this.searched++
        const from = Math.max(searchedUntil ?? beginOf(reading), reach)
        const range = { from, until: readUntil, symbols: [symbol], onlySymbols: true }
        const { isWhole, unsettled } = await book(range, { signal: this.#signal, maxWaitMs: 0 })
        if (!isWhole || unsettled < readUntil) continue
        await this.#transaction(tx => recordSymbolSearched(tx, reading, symbol, readUntil))
      }
    } catch (err) {
      if (!(err instanceof ExchangeError && err.code === 'rate_limited')) throw err
    }
  }

  async #listed({ exchange }: Account, { marketType }: FillReading) {
    return [...(await this.#instruments.ofMarket({ exchange, marketType }, this.#signal)).values()]
  }
}
