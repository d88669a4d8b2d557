// @FEAT:exchanges @COMP:service @TYPE:helper
import { MINUTE } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'
import { dropExpired, grant, newWindow, type RateLimit, type RateWindow } from './rate-window.ts'

/** What a call is for. */
export type Purpose = 'prices' | 'orders' | 'balances' | 'ledger' | 'other'

/** The guaranteed part of a limit, by purpose. What a purpose does not need is free for the others. */
export const SHARES: Readonly<Record<Purpose, number>> = {
  prices: 0.1,
  orders: 0.5,
  balances: 0.25,
  ledger: 0.1,
  other: 0.05
}
const PURPOSES = Object.keys(SHARES) as Purpose[]
/** A purpose needs what it took in a window of this time. The jobs of prices, orders and balances run every 29 to 59 s. */
const REMEMBERED_MS = 2 * MINUTE

const PURPOSE_OF: Readonly<Record<string, Purpose>> = {
  lastPrices: 'prices',
  markPrices: 'prices',
  openOrders: 'orders',
  order: 'orders',
  fills: 'orders',
  balances: 'balances',
  ledger: 'ledger',
  accountFills: 'ledger'
}

/** The purpose of an operation of `ExchangeClient`. */
export function purposeOf(operation: string): Purpose {
  return (Object.hasOwn(PURPOSE_OF, operation) ? PURPOSE_OF[operation] : undefined) ?? 'other'
}

interface Use {
  window: RateWindow
  /** The most that it had in its window, and when. */
  peak: number
  peakAt: Millis
  /** When it was last denied something. */
  deniedAt: Millis
}

/**
 * Divides one limit among the purposes. Each has a guaranteed share. A purpose that was denied nothing for two minutes is
 * kept only twice as much free as it took in a window of this time, so that a share which is not needed can be used by the
 * others.
 */
export class BudgetShares {
  readonly #uses: Readonly<Record<Purpose, Use>>

  constructor(limit: RateLimit) {
    const use = (): Use => ({
      window: newWindow(limit),
      peak: 0,
      peakAt: Number.NEGATIVE_INFINITY,
      deniedAt: Number.NEGATIVE_INFINITY
    })
    this.#uses = { prices: use(), orders: use(), balances: use(), ledger: use(), other: use() }
  }

  /** Records what a purpose took. */
  taken(purpose: Purpose, weight: number, now: Millis): void {
    const use = this.#uses[purpose]
    dropExpired(use.window, now)
    grant(use.window, weight, now)
    if (use.window.used < use.peak && now - use.peakAt < REMEMBERED_MS) return
    use.peak = use.window.used
    use.peakAt = now
  }

  /** Records that a purpose has to wait. */
  denied(purpose: Purpose, now: Millis): void {
    this.#uses[purpose].deniedAt = now
  }

  /**
   * The part of a capacity that a purpose must leave to the others: beyond its share what they need, within it only what
   * prices need. So prices come first, also while another purpose still has more than its share from before.
   */
  keptFrom(purpose: Purpose, weight: number, capacity: number, now: Millis): number {
    const { window } = this.#uses[purpose]
    dropExpired(window, now)
    const isWithin = window.used + weight <= Math.floor(SHARES[purpose] * capacity)
    const others = PURPOSES.filter(other => other !== purpose && (!isWithin || other === 'prices'))
    return others.reduce((sum, other) => sum + this.#keptFor(other, capacity, now), 0)
  }

  #keptFor(purpose: Purpose, capacity: number, now: Millis): number {
    const use = this.#uses[purpose]
    dropExpired(use.window, now)
    const share = Math.floor(SHARES[purpose] * capacity)
    const peak = now - use.peakAt < REMEMBERED_MS ? use.peak : 0
    const needed = now - use.deniedAt < REMEMBERED_MS ? share : Math.min(share, 2 * peak)
    return Math.max(0, needed - use.window.used)
  }
}
