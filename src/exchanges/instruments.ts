// @FEAT:exchanges @COMP:service @TYPE:core
import { unlessAborted } from '../async/abort.ts'
import { DeadlineError, withDeadline } from '../async/deadline.ts'
import { MINUTE, SECOND } from '../async/durations.ts'
import type { Database } from '../database/database.ts'
import type { Instrument, InstrumentSource } from '../domain/instrument.ts'
import type { Market } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import type { CallOptions } from './exchange-client.ts'
import { INSTRUMENTS_TTL_MS, storedInstruments, storeInstruments } from './instrument-table.ts'

/** An unknown symbol may be a new one, and an exchange that could not be read may be back. */
const REREAD_AFTER_MS = MINUTE
/** The largest list has several MB. */
const READ_DEADLINE_MS = 60 * SECOND
/** Callers use what is known when a list takes longer; the read continues. */
const WAIT_MS = 10 * SECOND

/** No exchange delists so many of its instruments, and such a share of them, at once: a second list must confirm it. */
const MASS_DELISTING = { atLeast: 10, share: 0.25 }

const NONE: ReadonlyMap<string, Instrument> = new Map()

export interface InstrumentsOptions {
  database: Database
  /** Reads the list of a market from the exchange. */
  read: (market: Market, options: CallOptions) => Promise<readonly Instrument[]>
  log: Pick<Log, 'warn'>
  /** Aborts reads when the service closes. */
  closing: AbortSignal
  /** A monotonic clock in milliseconds. Default `performance.now`. */
  monotonic?: () => number
  /** Longest wait of a caller for a list, in milliseconds. Default 10,000. */
  waitMs?: number
}

/** What this replica knows of a market. */
interface MarketList {
  instruments: ReadonlyMap<string, Instrument>
  /** When the list was read from the exchange, and when this replica last tried; by the monotonic clock. */
  readAt: number
  triedAt: number
  reading: Promise<void> | undefined
  /** Whether the last list lacked so many instruments that another one must confirm it. */
  isDoubtful: boolean
}

/**
 * The instruments of all markets, for one replica. A list that another replica read within the hour is taken from the
 * table: together they read each exchange about once an hour. Owns nothing that needs closing.
 */
export class Instruments implements InstrumentSource {
  readonly #options: InstrumentsOptions
  readonly #lists = new Map<string, MarketList>()
  readonly #monotonic: () => number

  constructor(options: InstrumentsOptions) {
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  async ofMarket(
    market: Market,
    signal: AbortSignal,
    wanted: Iterable<string> = []
  ): Promise<ReadonlyMap<string, Instrument>> {
    signal.throwIfAborted()
    const list = this.#listOf(market)
    const now = this.#monotonic()
    const isEnough = !list.isDoubtful && hasAll(list.instruments, wanted)
    const maxAgeMs = isEnough ? INSTRUMENTS_TTL_MS : REREAD_AFTER_MS
    if (now - list.readAt >= maxAgeMs && (list.reading || now - list.triedAt >= REREAD_AFTER_MS)) {
      list.reading ??= this.#refresh(market, list, maxAgeMs).finally(() => {
        list.reading = undefined
      })
      await unlessAborted(withinMs(list.reading, this.#options.waitMs ?? WAIT_MS), signal)
    }
    return list.instruments
  }

  /** Never rejects: without a new list the known one stays. */
  async #refresh(market: Market, list: MarketList, maxAgeMs: number): Promise<void> {
    const { database, read, log, closing } = this.#options
    const names = { exchange: market.exchange, market_type: market.marketType }
    list.triedAt = this.#monotonic()
    try {
      const stored = await storedInstruments(database, market)
      const readAt = stored ? this.#monotonic() - stored.ageMs : Number.NEGATIVE_INFINITY
      if (stored && readAt > list.readAt) {
        list.instruments = stored.instruments
        list.readAt = readAt
        if (stored.ageMs < maxAgeMs) return
      }
    } catch (err) {
      log.warn({ err, ...names }, 'stored instruments not read')
    }
    try {
      let isComplete = true
      const onInvalidRow = () => {
        isComplete = false
      }
      const instruments = await read(market, { signal: closing, deadlineMs: READ_DEADLINE_MS, onInvalidRow })
      list.isDoubtful = !list.isDoubtful && isMassDelisting(list.instruments, instruments)
      if (list.isDoubtful) {
        isComplete = false
        log.warn(
          { ...names, listed: instruments.length, known: list.instruments.size },
          'list of instruments is doubtful'
        )
      }
      list.instruments = withKnown(list.instruments, instruments, isComplete)
      list.readAt = this.#monotonic()
      await storeInstruments(database, market, instruments, isComplete)
    } catch (err) {
      if (!closing.aborted) log.warn({ err, ...names }, 'instruments not updated')
    }
  }

  #listOf({ exchange, marketType }: Market): MarketList {
    const id = `${exchange} ${marketType}`
    const known = this.#lists.get(id)
    if (known) return known
    const never = Number.NEGATIVE_INFINITY
    const list = { instruments: NONE, readAt: never, triedAt: never, reading: undefined, isDoubtful: false }
    this.#lists.set(id, list)
    return list
  }
}

function isMassDelisting(known: ReadonlyMap<string, Instrument>, listed: readonly Instrument[]): boolean {
  const names = new Set(listed.map(({ exchangeSymbol }) => exchangeSymbol))
  const trading = [...known.values()].filter(instrument => instrument.trading)
  const absent = trading.filter(({ exchangeSymbol }) => !names.has(exchangeSymbol)).length
  return absent >= MASS_DELISTING.atLeast && absent > trading.length * MASS_DELISTING.share
}

function hasAll(instruments: ReadonlyMap<string, Instrument>, wanted: Iterable<string>): boolean {
  for (const symbol of wanted) if (!instruments.has(symbol)) return false
  return true
}

/**
 * The listed instruments, and the known ones that are not listed any more, which do not trade. One that is absent from an
 * incomplete list may be in an unreadable row: it stays as it is.
 */
function withKnown(
  known: ReadonlyMap<string, Instrument>,
  listed: readonly Instrument[],
  isComplete: boolean
): ReadonlyMap<string, Instrument> {
  const all = new Map(listed.map(instrument => [instrument.exchangeSymbol, instrument]))
  for (const [symbol, instrument] of known) {
    if (!all.has(symbol)) all.set(symbol, isComplete ? { ...instrument, trading: false } : instrument)
  }
  return all
}

/** Resolves when the work is settled, or after `ms`. */
async function withinMs(work: Promise<void>, ms: number): Promise<void> {
  await withDeadline(work, ms).catch(err => {
    if (!(err instanceof DeadlineError)) throw err
  })
}
