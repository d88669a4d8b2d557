// @FEAT:exchanges @COMP:service @TYPE:integration
import { DAY } from '../../async/durations.ts'
import { Exact, isZero } from '../../domain/decimal.ts'
import type { LedgerEntry } from '../../domain/ledger-entry.ts'
import type { MarketType } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import { decimalOf, type JsonRecord, millisOf, optionalDecimal, optionalText, textOf } from '../http/answer-fields.ts'

/** The log reaches back two years. Source: bybit-exchange.github.io/docs/v5/account/transaction-log */
export const BYBIT_LEDGER_REACH_MS = 730 * DAY
/** The longest time between the ends of a window. */
export const BYBIT_LEDGER_WINDOW_MS = 7 * DAY

/** Types of rows that are executions when they name an order and a trade. */
const FILLS: ReadonlySet<string> = new Set(['TRADE', 'LIQUIDATION', 'PART_LIQUIDATION', 'ADL'])

/** What spot margin lends is added to the wallet and to the debt, so that the balance, which is both, stays the same. */
const SPOT_MARGIN_LOANS: ReadonlySet<string> = new Set([
  ...['BORROW', 'REPAY', 'FLOATING_TO_FIXED_BORROW', 'FLOATING_TO_FIXED_REPAY'],
  ...['MANUAL_LOANS_BORROW', 'MANUAL_LOANS_REPAY', 'AUTO_LOANS_BORROW', 'AUTO_LOANS_REPAY']
])

type Kind = LedgerEntry['kind']

/**
 * Types by their kind. Those that are not listed are `other`.
 * Source: bybit-exchange.github.io/docs/v5/enum#typeuta-translog
 */
const TYPES: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  funding: ['SETTLEMENT'],
  transfer: [
    ...['TRANSFER_IN', 'TRANSFER_OUT', 'TRANSFER_IN_INS_LOAN', 'TRANSFER_OUT_INS_LOAN'],
    ...['INSTITUTION_LOAN_TRANSFER_IN', 'INSTITUTION_LOAN_TRANSFER_OUT', 'INSTITUTION_LOAN_WITHOUT_WITHDRAW'],
    ...['INSTITUTION_LOAN_RESERVE_IN', 'INSTITUTION_LOAN_RESERVE_OUT', 'PREMARKET_TRANSFER_IN'],
    ...['PREMARKET_TRANSFER_OUT', 'BONUS_TRANSFER_IN', 'BONUS_TRANSFER_OUT', 'PEF_TRANSFER_IN', 'PEF_TRANSFER_OUT'],
    ...['TOKENS_SUBSCRIPTION', 'TOKENS_REDEMPTION', 'LOANS_PLEDGE_ASSET', 'LOANS_ASSET_REDEMPTION'],
    ...['FLEXIBLE_STAKING_SUBSCRIPTION', 'FLEXIBLE_STAKING_REDEMPTION', 'FLEXIBLE_STAKING_REFUND'],
    ...['FIXED_STAKING_SUBSCRIPTION', 'FIXED_STAKING_REFUND', 'ONCHAINEARN_SUBSCRIPTION', 'ONCHAINEARN_REDEMPTION'],
    ...['ONCHAINEARN_REDEMPTION_PRINCIPAL', 'ONCHAINEARN_REFUND', 'STRUCTURE_PRODUCT_SUBSCRIPTION'],
    ...['STRUCTURE_PRODUCT_REFUND', 'CLASSIC_WEALTH_MANAGEMENT_SUBSCRIPTION'],
    ...['PREMIMUM_WEALTH_MANAGEMENT_SUBSCRIPTION', 'PREMIMUM_WEALTH_MANAGEMENT_REFUND'],
    ...['PREMIUM_WEALTH_MANAGEMENT_SUBSCRIPTION', 'PREMIUM_WEALTH_MANAGEMENT_REFUND'],
    ...['LIQUIDITY_MINING_SUBSCRIPTION', 'LIQUIDITY_MINING_REFUND', 'PWM_SUBSCRIPTION', 'PWM_REFUND'],
    ...['DEFI_INVESTMENT_SUBSCRIPTION', 'DEFI_INVESTMENT_REFUND', 'DEFI_INVESTMENT_REDEMPTION'],
    ...['CUSTODY_LOCK', 'CUSTODY_UNLOCK', 'CUSTODY_UNLOCK_REFUND', 'DBS_CASH_OUT', 'DBS_CASH_IN'],
    ...['DBS_CASH_OUT_TR', 'DBS_CASH_IN_TR', 'CUSTODY_CASH_RECOVER_TR']
  ],
  interest: [
    ...['INTEREST', 'FIXED_INTEREST', 'FIXED_INTEREST_REFUND', 'LOANS_INTEREST', 'INTEREST_REPAYMENT_INS_LOAN'],
    ...['AUTO_INTEREST_REPAYMENT_INS_LOAN', 'INSTITUTION_PAYBACK_INTEREST_OUT', 'INSTITUTION_LIQ_INTEREST_OUT']
  ],
  borrow: ['BORROWED_AMOUNT_INS_LOAN', 'INSTITUTION_LOAN_IN', 'LOANS_BORROW_FUNDS'],
  repay: [
    ...['PRINCIPLE_REPAYMENT_INS_LOAN', 'AUTO_PRINCIPLE_REPAYMENT_INS_LOAN', 'INSTITUTION_PAYBACK_PRINCIPAL_OUT'],
    ...['INSTITUTION_LIQ_PRINCIPAL_OUT', 'LOANS_REPAY_FUNDS']
  ],
  rebate: ['FEE_REFUND'],
  commission: [
    ...['SPREAD_FEE_OUT', 'BROKER_ABACCOUNT_FEE', 'CUSTODY_NETWORK_FEE', 'CUSTODY_SETTLE_FEE', 'PEF_PROFIT_SHARE']
  ],
  liquidation: ['LIQUIDATION', 'PART_LIQUIDATION', 'ADL', 'POSITION_TAKE_OVER', 'INSURANCE_FUND'],
  conversion: [
    ...['CURRENCY_BUY', 'CURRENCY_SELL', 'CURRENCY_BUY_MANUEL', 'CURRENCY_SELL_MANUEL', 'CONVERT', 'OTC_TRADE'],
    ...['SPOT_REPAYMENT_SELL', 'SPOT_REPAYMENT_BUY', 'AUTO_SOLD_COLLATERAL_INS_LOAN', 'AUTO_BUY_LIABILITY_INS_LOAN'],
    ...['INSTITUTION_EXCHANGE_SELL', 'INSTITUTION_EXCHANGE_BUY', 'EARNING_REDEMPTION_SELL', 'EARNING_REDEMPTION_BUY'],
    ...['IDN_CONVERT_IN', 'IDN_CONVERT_OUT']
  ],
  dividend: [
    ...['AIRDROP', 'AIRDROP_OUT', 'AIRDROP_EFTD', 'AIRDROP_OUT_EFTD', 'AIRDROP_FIAT', 'AIRDROP_OUT_FIAT'],
    ...['BONUS', 'BONUS_RECOLLECT']
  ]
}

const KINDS: ReadonlyMap<string, Kind> = new Map(
  Object.entries(TYPES).flatMap(([kind, types]) => types.map(type => [type, kind as Kind] as const))
)

const MARKETS: Readonly<Record<string, MarketType>> = { spot: 'SPOT', linear: 'FUTURES' }

/** Whether the fills of an instrument are read, by its market and symbol. */
export type ReadsFills = (marketType: MarketType, exchangeSymbol: string) => boolean

/** The time of a row of the log. @throws {UnreadableAnswer} */
export function bybitLogTime(row: JsonRecord): Millis {
  return millisOf(row, 'transactionTime')
}

/**
 * The entries of a row of the log. `change` is `cashFlow + funding - fee`. Of a fill, result and fee are in the fills, and
 * funding is an entry. Of a settlement, what is no funding is the result of a session of a perpetual in USDC, which no fill
 * has. A fill of an instrument whose fills are not read (dated, inverse, options) is an entry.
 *
 * Source: bybit-exchange.github.io/docs/v5/account/transaction-log
 *
 * @throws {UnreadableAnswer}
 */
export function bybitLedgerEntries(row: JsonRecord, readsFills: ReadsFills): LedgerEntry[] {
  const exchangeKind = textOf(row, 'type')
  if (SPOT_MARGIN_LOANS.has(exchangeKind)) return []
  const entry = {
    exchangeEntryId: textOf(row, 'id'),
    asset: textOf(row, 'currency'),
    exchangeKind,
    exchangeSymbol: optionalText(row, 'symbol'),
    at: bybitLogTime(row)
  }
  const change = decimalOf(row, 'change')
  if (isFill(row, exchangeKind, readsFills)) {
    const funding = optionalDecimal(row, 'funding') ?? '0'
    return isZero(funding) ? [] : [{ ...entry, amount: funding, kind: 'funding' }]
  }
  const kind = KINDS.get(exchangeKind) ?? 'other'
  const session = kind === 'funding' ? (optionalDecimal(row, 'cashFlow') ?? '0') : '0'
  if (isZero(session)) return [{ ...entry, amount: change, kind }]
  const funding = new Exact(change).minus(session).toFixed()
  return [
    { ...entry, amount: funding, kind },
    { ...entry, amount: session, kind: 'other' }
  ]
}

function isFill(row: JsonRecord, type: string, readsFills: ReadsFills): boolean {
  const ids = [optionalText(row, 'orderId'), optionalText(row, 'tradeId')]
  const category = optionalText(row, 'category') ?? ''
  const marketType = Object.hasOwn(MARKETS, category) ? MARKETS[category] : undefined
  const symbol = optionalText(row, 'symbol')
  if (!FILLS.has(type) || ids.includes(null) || marketType === undefined || symbol === null) return false
  return readsFills(marketType, symbol)
}
