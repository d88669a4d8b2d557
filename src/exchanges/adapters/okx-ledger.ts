// @FEAT:exchanges @COMP:service @TYPE:integration
import { DAY, HOUR } from '../../async/durations.ts'
import { type Decimal, Exact } from '../../domain/decimal.ts'
import type { LedgerEntry } from '../../domain/ledger-entry.ts'
import type { MarketType } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import { decimalOf, type JsonRecord, millisOf, optionalDecimal, optionalText, textOf } from '../http/answer-fields.ts'

/** The bills of the last three months, which have 89 days at least. */
export const OKX_LEDGER_REACH_MS = 89 * DAY

/** The list of the newest bills reaches back seven days; one hour less, because clocks differ. */
export const RECENT_BILLS_MS = 7 * DAY - HOUR

/**
 * Subtypes of bills that the lists of fills have, too: trades, liquidations, auto-deleveraging (ADL), deliveries, block and
 * spread trades, moved positions, conversions by an order.
 * Source: okx.com/docs-v5/en, "Get transaction details (last 3 months)", `subType`
 */
const FILLS: ReadonlySet<string> = new Set([
  ...['1', '2', '3', '4', '5', '6'],
  ...['100', '101', '102', '103', '104', '105', '106', '107', '110', '111', '112', '113', '118', '119'],
  ...['125', '126', '127', '128', '204', '205', '206', '207', '208', '209', '212', '213', '236', '237'],
  ...['270', '271', '272', '273', '274', '275', '324', '325', '326', '327', '328', '329', '376', '377']
])

/** Types of bills whose change may be more than the result and the fee of their fill. */
const FORCED: ReadonlySet<string> = new Set(['5', '9'])

type Kind = LedgerEntry['kind']

/** Where the subtype decides. Source: okx.com/docs-v5/en, "Get bills details (last 3 months)" */
const KINDS_OF_SUBTYPES: Readonly<Record<string, Kind>> = {
  '9': 'interest',
  '14': 'interest',
  '16': 'repay',
  '17': 'interest',
  '114': 'conversion',
  '115': 'conversion',
  '210': 'borrow',
  '211': 'repay',
  '212': 'borrow',
  '213': 'repay',
  '250': 'commission',
  '251': 'rebate',
  '280': 'commission',
  '281': 'rebate',
  '282': 'rebate',
  '283': 'transfer',
  '290': 'transfer',
  '293': 'interest',
  '294': 'interest',
  '295': 'interest',
  '306': 'borrow',
  '307': 'borrow',
  '308': 'repay',
  '309': 'repay',
  '372': 'dividend',
  '373': 'dividend',
  '374': 'dividend',
  '375': 'dividend',
  '376': 'conversion',
  '377': 'conversion',
  '381': 'interest'
}

/** Where the type decides. Types that are not listed are `other`. */
const KINDS_OF_TYPES: Readonly<Record<string, Kind>> = {
  '1': 'transfer',
  '4': 'repay',
  '5': 'liquidation',
  '7': 'interest',
  '8': 'funding',
  '9': 'liquidation',
  '10': 'liquidation',
  '11': 'conversion',
  '12': 'transfer',
  '16': 'borrow',
  '22': 'repay',
  '26': 'transfer',
  '27': 'conversion',
  '28': 'conversion',
  '29': 'conversion',
  '30': 'conversion',
  '250': 'commission',
  '251': 'rebate'
}

/** Whether the fills of an instrument are read, by its market and symbol. */
export type ReadsFills = (marketType: MarketType, exchangeSymbol: string) => boolean

/** The time of a bill. @throws {UnreadableAnswer} */
export function okxBillTime(row: JsonRecord): Millis {
  return millisOf(row, 'ts')
}

/**
 * The entry of a bill, of which there is none for a fill. Its amount is the change of the balance and of the margin of
 * isolated positions: the balance that is read has both, and what is moved between them changes neither. A fill of an
 * instrument whose fills are not read (margin, dated, inverse, options) is an entry. Liquidations and auto-deleveragings
 * are fills, and an entry for what their bill changes in excess of their result and fee.
 *
 * @throws {UnreadableAnswer}
 */
export function okxLedgerEntries(row: JsonRecord, readsFills: ReadsFills): LedgerEntry[] {
  const type = textOf(row, 'type')
  const subType = optionalText(row, 'subType') ?? ''
  const exchangeSymbol = optionalText(row, 'instId')
  const kind = kindOf(type, subType)
  const change = new Exact(decimalOf(row, 'balChg')).plus(optionalDecimal(row, 'posBalChg') ?? 0)
  const explained = explainedByFill(row, type, subType, readsFills)
  if (explained === 'all') return []
  return [
    {
      exchangeEntryId: textOf(row, 'billId'),
      asset: textOf(row, 'ccy'),
      amount: change.minus(explained).toFixed(),
      kind,
      exchangeKind: subType === '' ? type : `${type}/${subType}`,
      exchangeSymbol,
      at: okxBillTime(row)
    }
  ]
}

function kindOf(type: string, subType: string): Kind {
  if (Object.hasOwn(KINDS_OF_SUBTYPES, subType)) return KINDS_OF_SUBTYPES[subType] ?? 'other'
  return Object.hasOwn(KINDS_OF_TYPES, type) ? (KINDS_OF_TYPES[type] ?? 'other') : 'other'
}

/**
 * What of the change of a bill is in the fills of the account. A fill has an order and a trade, whose id is negative for a
 * liquidation. Block trades have no order.
 */
function explainedByFill(row: JsonRecord, type: string, subType: string, readsFills: ReadsFills): Decimal | 'all' {
  const ids = [optionalText(row, 'ordId'), optionalText(row, 'tradeId')]
  const marketType = marketOf(optionalText(row, 'instType'))
  const symbol = optionalText(row, 'instId')
  const hasFill = FILLS.has(subType) && ids.every(id => id !== null && id !== '0')
  if (!hasFill || marketType === null || symbol === null || !readsFills(marketType, symbol)) return '0'
  const [pnl, fee] = [optionalDecimal(row, 'pnl'), optionalDecimal(row, 'fee')]
  if (marketType === 'SPOT' || !FORCED.has(type) || pnl === null || fee === null) return 'all'
  return new Exact(pnl).plus(fee).toFixed()
}

function marketOf(instType: string | null): MarketType | null {
  if (instType === 'SPOT') return 'SPOT'
  return instType === 'SWAP' ? 'FUTURES' : null
}
