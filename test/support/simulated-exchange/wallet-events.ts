import { Big } from 'big.js'
import type { Book } from './dialect.ts'
import type { SimulatedEntry } from './ledger.ts'
import type { SimulatedAccount, SimulatedFill, SimulatedOrder } from './market.ts'

/** A change of one asset of a unified wallet: by an entry, by the return of one that failed, or by a fill. */
export interface WalletEvent {
  /** Digits, unique among the events of an account. */
  id: string
  at: number
  asset: string
  /** Signed. */
  amount: string
  by: SimulatedEntry | { order: SimulatedOrder; fill: SimulatedFill }
}

/** The events of a unified account that lists have, from one time to another, both included, the newest first. */
export function walletEvents(account: SimulatedAccount, book: Book, from: number, to: number): WalletEvent[] {
  const ofEntries = account.entries.filter(({ listed }) => listed).flatMap(eventsOfEntry)
  const ofFills = account.orders.flatMap(order =>
    order.fills.filter(({ listed }) => listed).flatMap(fill => eventsOfFill(order, fill, book))
  )
  const events = [...ofEntries, ...ofFills].filter(({ at }) => at >= from && at <= to)
  return events.sort((a, b) => a.at - b.at).reverse()
}

/** A withdrawal leaves the wallet when it is requested, and returns if it fails. All others change it when they are done. */
function eventsOfEntry(entry: SimulatedEntry): WalletEvent[] {
  if (entry.totalAfter === null) return []
  const isAtOnce = entry.kind === 'withdrawal'
  const at = isAtOnce ? entry.at : (entry.endedAt ?? entry.at)
  const event = { id: `${entry.serial}0`, at, asset: entry.asset, amount: entry.amount, by: entry }
  if (entry.state !== 'failed') return [event]
  const returned = { ...event, id: `${entry.serial}1`, at: entry.endedAt ?? at }
  return [event, { ...returned, amount: new Big(entry.amount).neg().toFixed() }]
}

function eventsOfFill(order: SimulatedOrder, fill: SimulatedFill, book: Book): WalletEvent[] {
  const pair = book.symbols.find(({ symbol }) => symbol === order.symbol)
  if (pair === undefined) return []
  const changes = new Map<string, Big>()
  const change = (asset: string, amount: Big) => changes.set(asset, (changes.get(asset) ?? new Big(0)).plus(amount))
  if (order.market === 'SPOT') {
    const sign = order.side === 'BUY' ? 1 : -1
    change(pair.base, new Big(fill.quantity).times(sign))
    change(pair.quote, new Big(fill.price).times(fill.quantity).times(-sign))
  } else change(pair.quote, new Big(fill.realizedPnl))
  change(fill.feeAsset, new Big(fill.fee).neg())
  if (fill.tax !== undefined) change(fill.tax.coin, new Big(fill.tax.amount).neg())
  return [...changes].map(([asset, amount], index) => ({
    id: `${fill.tradeId.replace(/\D/g, '')}${index + 2}`,
    at: fill.at,
    asset,
    amount: amount.toFixed(),
    by: { order, fill }
  }))
}
