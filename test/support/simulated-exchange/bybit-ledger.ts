import { Big } from 'big.js'
import type { LedgerEntry } from '../../../src/domain/ledger-entry.ts'
import type { Book } from './dialect.ts'
import type { SimulatedAccount } from './market.ts'
import { type WalletEvent, walletEvents } from './wallet-events.ts'

/** The most rows of a page. */
export const LOG_PAGE = 50

/** Types of what a wallet gains and loses. */
const TYPES: Readonly<Partial<Record<LedgerEntry['kind'], readonly [gain: string, loss: string]>>> = {
  funding: ['SETTLEMENT', 'SETTLEMENT'],
  // The funding account, which has deposits and withdrawals, is not the unified account.
  deposit: ['TRANSFER_IN', 'TRANSFER_OUT'],
  withdrawal: ['TRANSFER_IN', 'TRANSFER_OUT'],
  transfer: ['TRANSFER_IN', 'TRANSFER_OUT'],
  interest: ['INTEREST', 'INTEREST'],
  borrow: ['LOANS_BORROW_FUNDS', 'LOANS_BORROW_FUNDS'],
  repay: ['LOANS_REPAY_FUNDS', 'LOANS_REPAY_FUNDS'],
  rebate: ['FEE_REFUND', 'FEE_REFUND'],
  commission: ['SPREAD_FEE_OUT', 'SPREAD_FEE_OUT'],
  liquidation: ['INSURANCE_FUND', 'INSURANCE_FUND'],
  conversion: ['CURRENCY_BUY', 'CURRENCY_SELL'],
  dividend: ['AIRDROP', 'BONUS_RECOLLECT']
}
const UNKNOWN = 'UNDOCUMENTED'

/** The rows of the transaction log of a unified account, the newest first. */
export function bybitLog(account: SimulatedAccount, book: Book, from: number, to: number) {
  return walletEvents(account, book, from, to).map(event => ({
    id: `${event.id}_${event.asset}`,
    orderLinkId: '',
    change: event.amount,
    transactionTime: String(event.at),
    feeRate: '0',
    bonusChange: '',
    size: '0',
    qty: '0',
    cashBalance: 'totalAfter' in event.by ? event.by.totalAfter : '',
    currency: event.asset,
    tradePrice: '0',
    extraFees: '',
    transSubType: '',
    ...('fill' in event.by ? tradeFields(event, event.by) : entryFields(event, event.by))
  }))
}

function entryFields({ amount }: WalletEvent, { kind, word, symbol }: Extract<WalletEvent['by'], { serial: number }>) {
  const [gain, loss] = TYPES[kind] ?? [UNKNOWN, UNKNOWN]
  const isFunding = kind === 'funding'
  return {
    type: word === null || word === 'dust' ? (amount.startsWith('-') ? loss : gain) : word,
    symbol: symbol ?? '',
    category: isFunding ? 'linear' : '',
    side: 'None',
    orderId: '',
    tradeId: '',
    funding: isFunding ? amount : '',
    fee: '0',
    cashFlow: isFunding ? '0' : amount
  }
}

function tradeFields({ asset, amount }: WalletEvent, { order, fill }: Extract<WalletEvent['by'], { fill: unknown }>) {
  const { market, forced, side, exchangeSymbol, exchangeOrderId } = order
  const fee = asset === fill.feeAsset ? fill.fee : '0'
  return {
    type: forced === null ? 'TRADE' : forced === 'adl' ? 'ADL' : 'LIQUIDATION',
    symbol: exchangeSymbol,
    category: market === 'SPOT' ? 'spot' : 'linear',
    side: side === 'BUY' ? 'Buy' : 'Sell',
    orderId: exchangeOrderId,
    tradeId: fill.tradeId,
    funding: '',
    fee,
    cashFlow: new Big(amount).plus(fee).toFixed()
  }
}
