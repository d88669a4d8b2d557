import { Big } from 'big.js'
import type { LedgerEntry } from '../../../src/domain/ledger-entry.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import { credit, type SimulatedAccount } from './market.ts'

/** A wallet that no market has: what is in it is not in the balances that are read. */
export type OtherWallet = 'FUNDING' | 'MARGIN' | 'SUB_ACCOUNT'

/** A change of a wallet other than by a fill, as the simulated exchange keeps it in its own books. */
export interface SimulatedEntry {
  /** A number of its own, in the order in which entries were made. */
  serial: number
  /** What the two entries of a transfer or of a conversion have in common; otherwise `serial`. */
  group: number
  kind: LedgerEntry['kind']
  /** The exchange's word for it. Null for the usual one of the kind. */
  word: string | null
  /** The wallet, by its market. */
  market: MarketType
  asset: string
  /** Signed: the change of the total of the wallet once it is done, the fee included. */
  amount: string
  /** The part of the amount that is a fee. Only of a withdrawal. */
  fee: string
  /** The symbol as the exchange writes it. */
  symbol: string | null
  /** The other wallet of a transfer. */
  other: MarketType | OtherWallet | null
  /** When it was requested or, without a request, done. */
  at: number
  /** When it became `done` or `failed`; null while it is `pending`. */
  endedAt: number | null
  state: 'pending' | 'done' | 'failed'
  /** The total of the asset in the wallet after the entry; null while it has not changed the wallet. */
  totalAfter: string | null
  /** Whether lists have it. The wallet always has it. */
  listed: boolean
}

export interface NewEntry {
  kind: LedgerEntry['kind']
  asset: string
  /** Signed. */
  amount: string
  /** Default `SPOT`. */
  market?: MarketType
  word?: string
  symbol?: string
  fee?: string
  other?: MarketType | OtherWallet
  /** Default now. */
  at?: number
  /** Default `done`. */
  state?: 'pending' | 'done'
  /** Default true. */
  listed?: boolean
}

/** What an account has of an asset in a wallet. */
export function totalOf(account: SimulatedAccount, market: MarketType, asset: string): string {
  const { free = '0', locked = '0' } = account.balances[market].get(asset) ?? {}
  return new Big(free).plus(locked).toFixed()
}

/** The books of a simulated exchange: entries that change the wallets of its accounts. */
export class SimulatedLedger {
  readonly #now: () => number
  /** Whether a withdrawal leaves the wallet when it is requested; otherwise when it is done. */
  readonly #isWithdrawnAtOnce: boolean
  #serial = 0

  constructor(now: () => number, isWithdrawnAtOnce: boolean) {
    this.#now = now
    this.#isWithdrawnAtOnce = isWithdrawnAtOnce
  }

  /** Adds an entry of any kind. */
  add(account: SimulatedAccount, entry: NewEntry, group?: number): SimulatedEntry {
    const { kind, asset, amount, market = 'SPOT', word = null, symbol = null, fee = '0', other = null } = entry
    const serial = ++this.#serial
    const at = entry.at ?? this.#now()
    const added: SimulatedEntry = {
      ...{ serial, group: group ?? serial, kind, word, market, asset, amount, fee, symbol, other, at },
      endedAt: null,
      state: 'pending',
      totalAfter: null,
      listed: entry.listed ?? true
    }
    account.entries.push(added)
    if (kind === 'withdrawal' && this.#isWithdrawnAtOnce) this.#change(account, added)
    if (entry.state !== 'pending') this.complete(account, added, at)
    return added
  }

  /** Credits a pending deposit, or completes a pending withdrawal or transfer. */
  complete(account: SimulatedAccount, entry: SimulatedEntry, at = this.#now()): void {
    if (entry.totalAfter === null) this.#change(account, entry)
    entry.state = 'done'
    entry.endedAt = at
  }

  /** Rejects a pending entry: the wallet is as if it had never been. */
  fail(account: SimulatedAccount, entry: SimulatedEntry, at = this.#now()): void {
    if (entry.totalAfter !== null) credit(account.balances[entry.market], entry.asset, new Big(entry.amount).neg())
    entry.state = 'failed'
    entry.endedAt = at
  }

  deposit(account: SimulatedAccount, asset: string, amount: string, more: Partial<NewEntry> = {}): SimulatedEntry {
    return this.add(account, { kind: 'deposit', asset, amount, ...more })
  }

  /** @param amount what arrives; the wallet changes by it and the fee */
  withdraw(
    account: SimulatedAccount,
    asset: string,
    amount: string,
    more: Partial<NewEntry> & { fee?: string } = {}
  ): SimulatedEntry {
    const change = new Big(amount)
      .plus(more.fee ?? '0')
      .neg()
      .toFixed()
    return this.add(account, { kind: 'withdrawal', asset, amount: change, ...more })
  }

  /** Moves an amount from one wallet to another. @returns the entries of the wallets of markets */
  transfer(
    account: SimulatedAccount,
    asset: string,
    amount: string,
    from: MarketType | OtherWallet,
    to: MarketType | OtherWallet,
    more: Partial<NewEntry> = {}
  ): SimulatedEntry[] {
    const group = this.#serial + 1
    const side = (market: MarketType | OtherWallet, other: MarketType | OtherWallet, change: string) =>
      market === 'SPOT' || market === 'FUTURES'
        ? [this.add(account, { kind: 'transfer', asset, amount: change, market, other, ...more }, group)]
        : []
    return [...side(from, to, new Big(amount).neg().toFixed()), ...side(to, from, amount)]
  }

  /** Exchanges an amount of one asset for another, at once. Dust has the word `dust`. */
  convert(
    account: SimulatedAccount,
    from: { asset: string; amount: string },
    to: { asset: string; amount: string },
    more: Partial<NewEntry> = {}
  ): SimulatedEntry[] {
    const group = this.#serial + 1
    const change = new Big(from.amount).neg().toFixed()
    return [
      this.add(account, { kind: 'conversion', asset: from.asset, amount: change, ...more }, group),
      this.add(account, { kind: 'conversion', asset: to.asset, amount: to.amount, ...more }, group)
    ]
  }

  /** The payment of a perpetual for its funding. */
  fund(account: SimulatedAccount, symbol: string, asset: string, amount: string, more: Partial<NewEntry> = {}) {
    return this.add(account, { kind: 'funding', market: 'FUTURES', symbol, asset, amount, ...more })
  }

  #change(account: SimulatedAccount, entry: SimulatedEntry): void {
    credit(account.balances[entry.market], entry.asset, new Big(entry.amount))
    entry.totalAfter = totalOf(account, entry.market, entry.asset)
  }
}

/** The entries of a wallet that lists have, from one time to another, both included, the oldest first. */
export function listedEntries(
  account: SimulatedAccount,
  market: MarketType,
  from: number,
  to: number,
  only: (entry: SimulatedEntry) => boolean = () => true
): SimulatedEntry[] {
  return account.entries
    .filter(entry => entry.listed && entry.market === market && entry.at >= from && entry.at <= to && only(entry))
    .sort((a, b) => a.at - b.at || a.serial - b.serial)
}
