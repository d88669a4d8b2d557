// @FEAT:trading @COMP:job @TYPE:helper
import type { Account, TradingAccounts } from '../accounts/account.ts'
import type { PriceSource } from '../cache/price-source.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import { CATALOGUE, spelledPair } from '../exchanges/catalogue.ts'
import type { InvalidRow } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { JobContext } from '../scheduler/job.ts'
import type { EquityPrices, OpenPerpetual } from '../trading/equity.ts'
import type { DueAccount } from '../trading/equity-history.ts'

/**
 * The longest wait for room in the rate limits. The wallets of the account are recorded afterwards, so that a longer wait
 * would delay them: an account whose positions do not fit is due again in the next run.
 */
const WAIT_MS = 200

export interface AccountEquityServices {
  accounts: TradingAccounts
  prices: PriceSource
  instruments: InstrumentSource
}

/** What the equity of an account needs in addition to its wallets. */
export interface EquityReading {
  due: DueAccount
  /** Null when they could not be read. */
  positions: OpenPerpetual[] | null
  prices: EquityPrices
}

/** Reads the open perpetuals of accounts whose equity is due, and the prices that value them, for one run. */
export class AccountEquity {
  readonly #services: AccountEquityServices
  readonly #context: JobContext
  readonly #due: ReadonlyMap<string, DueAccount>

  constructor(services: AccountEquityServices, context: JobContext, due: ReadonlyMap<string, DueAccount>) {
    this.#services = services
    this.#context = context
    this.#due = due
  }

  /** @returns undefined for an account whose equity is not due @throws the reason of the signal, {DatabaseUnavailableError} */
  async read(account: Account): Promise<EquityReading | undefined> {
    const due = this.#due.get(account.accountId)
    if (due === undefined) return undefined
    const { prices } = this.#services
    const { exchange, currency } = due
    const [positions] = await Promise.all([
      this.#positions(account),
      // Reads the market where it is not cached.
      prices.current(exchange, 'SPOT', [`BTC${currency}`], this.#context.signal)
    ])
    return { due, positions, prices: { spot: symbol => prices.peek(exchange, 'SPOT', symbol)?.price ?? null } }
  }

  async #positions(account: Account): Promise<OpenPerpetual[] | null> {
    const { accountId, exchange } = account
    const { signal, log } = this.#context
    if (CATALOGUE[exchange].markets.FUTURES === undefined) return []
    let isComplete = true
    const onInvalidRow = ({ kind }: InvalidRow) => {
      if (kind === 'unreadable') isComplete = false
    }
    try {
      const client = await this.#services.accounts.client(account, 'FUTURES')
      const positions = await client.positions({ signal, maxWaitMs: WAIT_MS, onInvalidRow })
      if (!isComplete) return null
      const market = { exchange, marketType: 'FUTURES' } as const
      const symbols = positions.map(({ exchangeSymbol }) => exchangeSymbol)
      const listed =
        symbols.length === 0 ? new Map() : await this.#services.instruments.ofMarket(market, signal, symbols)
      return positions.map(({ symbol, exchangeSymbol, quantity, unrealizedPnl }) => {
        const pair = spelledPair(market, exchangeSymbol) ?? listed.get(exchangeSymbol)
        return { symbol, quote: pair?.quote ?? null, quantity, unrealizedPnl }
      })
    } catch (err) {
      if (signal.aborted || err instanceof DatabaseUnavailableError) throw err
      const line = { account_id: accountId, exchange, err }
      if (err instanceof ExchangeError) log.debug({ ...line, code: err.code }, 'positions not read')
      else log.warn(line, 'positions not read')
      return null
    }
  }
}
