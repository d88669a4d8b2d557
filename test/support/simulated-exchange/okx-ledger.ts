import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { LedgerEntry } from '../../../src/domain/ledger-entry.ts'
import { type Book, timeIn } from './dialect.ts'
import type { SimulatedAccount } from './market.ts'
import { type WalletEvent, walletEvents } from './wallet-events.ts'

/** Types and subtypes of what a wallet gains and loses. */
const TYPES: Readonly<Partial<Record<LedgerEntry['kind'], readonly [gain: string, loss: string]>>> = {
  funding: ['8/174', '8/173'],
  // The funding account, which has deposits and withdrawals, is not the trading account.
  deposit: ['1/11', '1/12'],
  withdrawal: ['1/11', '1/12'],
  transfer: ['1/11', '1/12'],
  interest: ['381/381', '7/9'],
  borrow: ['33/306', '33/306'],
  repay: ['33/308', '33/308'],
  rebate: ['251/251', '251/251'],
  commission: ['250/250', '250/250'],
  liquidation: ['10/108', '10/108'],
  conversion: ['27/318', '27/319'],
  dividend: ['12/372', '12/373']
}
const UNKNOWN = '999/'
const DUST = ['28/236', '28/237'] as const

/** How far back each list of bills reaches. */
const REACH_MS: Readonly<Record<string, number>> = {
  '/api/v5/account/bills': 7 * DAY,
  '/api/v5/account/bills-archive': 92 * DAY
}

/** The bills of a list, the newest first; null for every other path. Their page is that after the bill of `after`. */
export function okxBills(path: string, account: SimulatedAccount, query: URLSearchParams, book: Book) {
  const reach = REACH_MS[path]
  if (reach === undefined) return null
  const from = Math.max(timeIn(query, 'begin', 0), book.now() - reach)
  return walletEvents(account, book, from, timeIn(query, 'end', book.now())).map(billOf)
}

function billOf(event: WalletEvent) {
  const { id, at, asset, amount } = event
  return {
    bal: 'totalAfter' in event.by ? event.by.totalAfter : '',
    balChg: amount,
    billId: id,
    ccy: asset,
    clOrdId: '',
    earnAmt: '',
    earnApr: '',
    execType: '',
    fillTime: '',
    from: '',
    interest: '0',
    mgnMode: '',
    notes: '',
    posBal: '0',
    posBalChg: '0',
    px: '',
    sz: '0',
    tag: '',
    to: '',
    ts: String(at),
    ...('fill' in event.by ? tradeFields(event, event.by) : entryFields(event, event.by))
  }
}

function entryFields({ amount }: WalletEvent, { kind, word, symbol }: Extract<WalletEvent['by'], { serial: number }>) {
  const isGain = !amount.startsWith('-')
  const [gain, loss] = word === 'dust' ? DUST : (TYPES[kind] ?? [UNKNOWN, UNKNOWN])
  const [type = '', subType = ''] = (word !== null && word !== 'dust' ? word : isGain ? gain : loss).split('/')
  const isSwap = symbol?.endsWith('-SWAP') ?? false
  return {
    type,
    subType,
    instId: symbol ?? '',
    instType: isSwap ? 'SWAP' : '',
    ordId: '',
    tradeId: '',
    fee: '0',
    pnl: '0'
  }
}

/** A bill of a fill: `2` trade, `5` liquidation, `9` ADL. The trade of the latter two has a negative number. */
function tradeFields({ asset }: WalletEvent, { order, fill }: Extract<WalletEvent['by'], { fill: unknown }>) {
  const { market, forced, side, exchangeSymbol } = order
  const isFeeIn = asset === fill.feeAsset
  return {
    type: forced === null ? '2' : forced === 'adl' ? '9' : '5',
    subType: forced === null ? (side === 'BUY' ? '1' : '2') : forced === 'adl' ? '125' : '104',
    instId: exchangeSymbol,
    instType: market === 'SPOT' ? 'SPOT' : 'SWAP',
    ordId: order.exchangeOrderId,
    tradeId: forced === null ? fill.tradeId : `-${fill.tradeId}`,
    fee: isFeeIn ? new Big(fill.fee).neg().toFixed() : '0',
    pnl: fill.realizedPnl
  }
}
