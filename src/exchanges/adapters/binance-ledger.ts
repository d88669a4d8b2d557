// @FEAT:exchanges @COMP:service @TYPE:integration
import { eachAtMost } from '../../async/bounded.ts'
import { DAY, MINUTE } from '../../async/durations.ts'
import { Exact, isZero, negated } from '../../domain/decimal.ts'
import type { LedgerEntry, LedgerGapCode, LedgerReading } from '../../domain/ledger-entry.ts'
import type { MarketType } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { CallOptions, TimeRange } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import {
  decimalOf,
  type JsonRecord,
  listOf,
  meaningOf,
  millisOf,
  optionalMillis,
  optionalText,
  recordOf,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Route } from '../http/exchange-call.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import { queryOf, supportedOnly } from './adapter.ts'
import type { ExchangeApi } from './exchange-api.ts'
import { type TimeWindow, windowsBetween } from './fill-history.ts'

/** Lists of one account that are read at the same time. */
const CONCURRENT_LISTS = 4

/** How long before the range deposits may have been seen that were credited in it. */
const LONGEST_DEPOSIT_MS = 3 * DAY

/** How far back all lists of a market reach: the transfers of spot six months, the income of futures three. */
export const BINANCE_LEDGER_REACH_MS: Readonly<Record<MarketType, Millis>> = { SPOT: 180 * DAY, FUTURES: 90 * DAY }

/**
 * Calls of `/sapi` are counted separately from those of `/api`: by address, or by user. Binance counts each path by itself;
 * here all count together, which is less. Source: developers.binance.com/docs/wallet/general-info, "LIMITS"
 */
export const BINANCE_WALLET_LIMITS: readonly RateLimit[] = [
  { name: 'wallet', weight: 12_000, perMs: MINUTE, scope: 'address', fixed: true },
  { name: 'wallet_user', weight: 180_000, perMs: MINUTE, scope: 'key', fixed: true }
]

type Kind = LedgerEntry['kind']

/** The entries of a row. `pendingAt` is the time of a row that is not yet, or not certainly, a change of the wallet. */
interface ReadRow {
  entries: LedgerEntry[]
  pendingAt: Millis | null
}

/** A list of changes of a wallet. */
interface LedgerList {
  route: Route
  /** Parameters in addition to the times. */
  parameters: Readonly<Record<string, string>>
  /** The longest time between the ends of a window. */
  windowMs: Millis
  /** How long before its entries the time of a row may be. Default 0. */
  lookbackMs?: Millis
  /** The most rows of an answer, and the name of the parameter for it; none where the exchange has no such parameter. */
  limit: number
  limitName: string | null
  /** The parameter of a page: the number of rows before it, or its number from 1 on. Null for a list without pages. */
  pageName: 'offset' | 'page' | 'current' | null
  /** @throws {UnreadableAnswer} */
  rowsOf: (body: unknown) => readonly unknown[]
  idFields: readonly string[]
  /** @throws {UnreadableAnswer} */
  read: (row: JsonRecord) => ReadRow
}

function route(path: string, limit: string, weight: number): Route {
  return { operation: 'ledger', method: 'GET', path, costs: [{ limit, weight }], signing: 'account' }
}

/**
 * Types of income by their kind. Those that are not listed are `other`. Source:
 * developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api/Get-Income-History
 */
const INCOME_KINDS: Readonly<Record<string, Kind>> = {
  TRANSFER: 'transfer',
  INTERNAL_TRANSFER: 'transfer',
  CROSS_COLLATERAL_TRANSFER: 'transfer',
  STRATEGY_UMFUTURES_TRANSFER: 'transfer',
  FUNDING_FEE: 'funding',
  SPECIAL_FUNDING_FEE: 'funding',
  INSURANCE_CLEAR: 'liquidation',
  REFERRAL_KICKBACK: 'rebate',
  COMMISSION_REBATE: 'rebate',
  API_REBATE: 'rebate',
  FEE_RETURN: 'rebate',
  COMMISSION: 'commission',
  POSITION_LIMIT_INCREASE_FEE: 'commission',
  WELCOME_BONUS: 'dividend',
  CONTEST_REWARD: 'dividend',
  BFUSD_REWARD: 'interest',
  AUTO_EXCHANGE: 'conversion',
  COIN_SWAP_DEPOSIT: 'conversion',
  COIN_SWAP_WITHDRAW: 'conversion'
}
/** Income of fills: their lists have both. */
const INCOME_OF_FILLS: ReadonlySet<string> = new Set(['REALIZED_PNL', 'COMMISSION'])

/** Wallets that spot exchanges transfers with. Source: developers.binance.com/docs/wallet/asset/user-universal-transfer */
const OTHER_WALLETS = ['UMFUTURE', 'CMFUTURE', 'MARGIN', 'ISOLATED_MARGIN', 'FUNDING', 'OPTION', 'PORTFOLIO_MARGIN']

const DEPOSITS: LedgerList = {
  route: route('/sapi/v1/capital/deposit/hisrec', 'wallet', 1),
  ...{ parameters: {}, windowMs: 90 * DAY, limit: 1_000, limitName: 'limit', pageName: 'offset' },
  lookbackMs: LONGEST_DEPOSIT_MS,
  rowsOf: body => listOf(body, 'deposits'),
  idFields: ['id'],
  read: parseBinanceDeposit
}

const WITHDRAWALS: LedgerList = {
  ...DEPOSITS,
  lookbackMs: 0,
  route: route('/sapi/v1/capital/withdraw/history', 'wallet_user', 18_000),
  rowsOf: body => listOf(body, 'withdrawals'),
  read: parseBinanceWithdrawal
}

/** All rows of other lists are in a member of the answer. */
function transfersOf(type: string): LedgerList {
  return {
    route: route('/sapi/v1/asset/transfer', 'wallet', 1),
    parameters: { type },
    // Without times the last seven days are listed. Longer windows are not documented.
    ...{ windowMs: 7 * DAY, limit: 100, limitName: 'size', pageName: 'current' },
    // Without a transfer the answer has no rows.
    rowsOf: body => memberOf(body, 'rows', true),
    idFields: ['tranId'],
    read: parseBinanceTransfer
  }
}

const DIVIDENDS: LedgerList = {
  route: route('/sapi/v1/asset/assetDividend', 'wallet', 10),
  ...{ parameters: {}, windowMs: 180 * DAY, limit: 500, limitName: 'limit', pageName: null },
  rowsOf: body => memberOf(body, 'rows'),
  idFields: [],
  read: parseBinanceDividend
}

const DUST: LedgerList = {
  route: route('/sapi/v1/asset/dribblet', 'wallet', 1),
  ...{ parameters: {}, windowMs: 90 * DAY, limit: 100, limitName: null, pageName: null },
  rowsOf: body => memberOf(body, 'userAssetDribblets'),
  idFields: [],
  read: parseBinanceDust
}

const CONVERTS: LedgerList = {
  route: route('/sapi/v1/convert/tradeFlow', 'wallet_user', 3_000),
  ...{ parameters: {}, windowMs: 30 * DAY, limit: 1_000, limitName: 'limit', pageName: null },
  rowsOf: body => memberOf(body, 'list', true),
  idFields: [],
  read: parseBinanceConvert
}

/** @param isRead whether the fills of a symbol are read: income of other fills is an entry */
function incomeOf(isRead: (exchangeSymbol: string) => boolean): LedgerList {
  return {
    route: route('/fapi/v1/income', 'weight', 30),
    ...{ parameters: {}, windowMs: 7 * DAY, limit: 1_000, limitName: 'limit', pageName: 'page' },
    rowsOf: body => listOf(body, 'income'),
    idFields: ['incomeType', 'tranId', 'asset', 'symbol', 'tradeId', 'income'],
    read: row => parseBinanceIncome(row, isRead)
  }
}

export interface BinanceLedgerOptions {
  api: ExchangeApi<unknown>
  marketType: MarketType
  isTestnet: boolean
  /** Whether `fills` reads the fills of a symbol. */
  isRead: (exchangeSymbol: string) => boolean
}

/**
 * The ledger of a wallet of Binance. That of futures is one list. That of spot is in several: deposits, withdrawals,
 * transfers by type, distributions, dust, conversions. Not in them, so not read: deposits and withdrawals of fiat money
 * (two calls use all that a user may do in a minute), what goes to Earn and comes back, and transfers of sub-accounts
 * which their master made.
 */
export class BinanceLedger {
  readonly #options: BinanceLedgerOptions
  readonly #lists: readonly LedgerList[]

  constructor(options: BinanceLedgerOptions) {
    this.#options = options
    const transfers = OTHER_WALLETS.flatMap(wallet => [`MAIN_${wallet}`, `${wallet}_MAIN`].map(transfersOf))
    this.#lists =
      options.marketType === 'FUTURES'
        ? [incomeOf(options.isRead)]
        : [DEPOSITS, WITHDRAWALS, ...transfers, DIVIDENDS, DUST, CONVERTS]
  }

  /**
   * Reads all lists. What the key may not read, and what cannot be read, is a gap; the other lists are read. The testnet of
   * spot has no such lists.
   *
   * @throws {ExchangeError} when no list can be read, or one fails in a way that may pass
   */
  async read(range: TimeRange, options: CallOptions | undefined): Promise<LedgerReading> {
    if (this.#options.isTestnet && this.#options.marketType === 'SPOT') {
      return { entries: [], completeUntil: range.until, gaps: ['not_provided'] }
    }
    const rows: ReadRow[] = []
    const failures: ExchangeError[] = []
    await eachAtMost(CONCURRENT_LISTS, this.#lists, async list => {
      try {
        const { lookbackMs = 0 } = list
        const listed = { ...range, from: Math.max(0, range.from - lookbackMs) }
        for (const window of windowsBetween(listed, list.windowMs)) {
          const read = await this.#window(list, window, options)
          rows.push(...(lookbackMs > 0 ? read.map(row => since(row, range.from)) : read))
        }
      } catch (err) {
        if (!(err instanceof ExchangeError) || gapOf(err) === null) throw err
        failures.push(err)
      }
    })
    const [failure] = failures
    if (failure !== undefined && failures.length === this.#lists.length) throw failure
    const pending = rows.flatMap(({ pendingAt }) => pendingAt ?? [])
    return {
      entries: rows.flatMap(({ entries }) => entries).sort((a, b) => a.at - b.at),
      completeUntil: Math.max(range.from, Math.min(range.until, ...pending)),
      gaps: [...new Set(failures.flatMap(err => gapOf(err) ?? []))]
    }
  }

  async #window(list: LedgerList, window: TimeWindow, options: CallOptions | undefined): Promise<ReadRow[]> {
    return list.pageName === null
      ? await this.#halves(list, window, options)
      : await this.#pages(list, list.pageName, window, options)
  }

  async #pages(
    list: LedgerList,
    pageName: 'offset' | 'page' | 'current',
    window: TimeWindow,
    options: CallOptions | undefined
  ): Promise<ReadRow[]> {
    const [first, step] = pageName === 'offset' ? [0, list.limit] : [1, 1]
    return await this.#options.api.readPages<ReadRow, number>(
      {
        route: list.route,
        query: (page = first) => queryOf({ ...queryOfWindow(list, window), [pageName]: page }),
        read: (body, page = first) => {
          const rows = list.rowsOf(body)
          return { rows, next: rows.length < list.limit ? undefined : page + step }
        },
        idFields: list.idFields,
        parse: rows => readRows(list, rows, options)
      },
      options
    )
  }

  /** A list without pages: a window whose answer may be incomplete is read in halves. */
  async #halves(list: LedgerList, window: TimeWindow, options: CallOptions | undefined): Promise<ReadRow[]> {
    const { startTime, endTime } = window
    const read = (body: unknown) => {
      const rows = list.rowsOf(body)
      const isFull = rows.length >= list.limit
      if (isFull && startTime === endTime) throw new UnreadableAnswer('a millisecond has more rows than an answer')
      return isFull ? null : readRows(list, rows, options)
    }
    const query = queryOf(queryOfWindow(list, window))
    const rows = await this.#options.api.read({ route: list.route, query }, read, options)
    if (rows !== null) return rows
    const middle = Math.floor((startTime + endTime) / 2)
    return [
      ...(await this.#halves(list, { startTime, endTime: middle }, options)),
      ...(await this.#halves(list, { startTime: middle + 1, endTime }, options))
    ]
  }
}

function queryOfWindow(
  { parameters, limit, limitName }: LedgerList,
  window: TimeWindow
): Record<string, string | number> {
  return { ...parameters, ...window, ...(limitName !== null && { [limitName]: limit }) }
}

function readRows(list: LedgerList, rows: readonly unknown[], options: CallOptions | undefined): ReadRow[] {
  return supportedOnly(rows, list.read, options?.onInvalidRow)
}

/** The gap that a failure of one list leaves; null when the list may be read by a later call. */
function gapOf({ code }: ExchangeError): LedgerGapCode | null {
  if (code === 'authentication' || code === 'permission') return 'permission'
  return code === 'invalid_answer' ? 'unreadable' : null
}

/** The rows in a member of an answer. @param mayBeAbsent whether an answer without rows has no such member */
function memberOf(body: unknown, member: string, mayBeAbsent = false): readonly unknown[] {
  const rows = recordOf(body, 'the answer')[member]
  return mayBeAbsent && (rows === undefined || rows === null) ? [] : listOf(rows, member)
}

/** A row without what is before a time. */
function since({ entries, pendingAt }: ReadRow, from: Millis): ReadRow {
  const isLater = pendingAt !== null && pendingAt >= from
  return { entries: entries.filter(({ at }) => at >= from), pendingAt: isLater ? pendingAt : null }
}

const NOTHING: ReadRow = { entries: [], pendingAt: null }

/** What becomes of a row in a state. */
type Outcome = 'counts' | 'pending' | 'never'

/** Rows of the funding wallet are no change of the spot wallet. */
function isOfFundingWallet(row: JsonRecord): boolean {
  return optionalText(row, 'walletType') === '1'
}

const DEPOSIT_STATES: Readonly<Record<string, Outcome>> = {
  '0': 'pending',
  '1': 'counts',
  '2': 'never',
  // Credited, but it cannot be withdrawn yet.
  '6': 'counts',
  // A wrong deposit, and one that the user must confirm.
  '7': 'never',
  '8': 'pending'
}

/** Source: developers.binance.com/docs/wallet/capital/deposite-history @throws {UnreadableAnswer} */
function parseBinanceDeposit(row: JsonRecord): ReadRow {
  const insertedAt = millisOf(row, 'insertTime')
  const outcome = meaningOf(row, 'status', DEPOSIT_STATES)
  if (isOfFundingWallet(row) || outcome === 'never') return NOTHING
  if (outcome === 'pending') return { entries: [], pendingAt: insertedAt }
  return entry(row, {
    exchangeEntryId: textOf(row, 'id'),
    asset: textOf(row, 'coin'),
    amount: decimalOf(row, 'amount'),
    kind: 'deposit',
    exchangeKind: 'deposit',
    at: optionalMillis(row, 'completeTime') ?? insertedAt
  })
}

/** Whether the money of a withdrawal came back (canceled, rejected, failed), stays away, or may still come back. */
const WITHDRAWALS_BY_STATE: Readonly<Record<string, 'open' | 'done' | 'returned'>> = {
  ...{ '0': 'open', '2': 'open', '4': 'open', '6': 'done' },
  ...{ '1': 'returned', '3': 'returned', '5': 'returned' }
}

/**
 * A withdrawal leaves the balance with its fee when it is requested. One that ends without success comes back: with an
 * entry of its own, because the first may be recorded already. Until its end the ledger is not complete.
 *
 * Source: developers.binance.com/docs/wallet/capital/withdraw-history
 *
 * @throws {UnreadableAnswer}
 */
function parseBinanceWithdrawal(row: JsonRecord): ReadRow {
  if (isOfFundingWallet(row)) return NOTHING
  const id = textOf(row, 'id')
  const total = new Exact(decimalOf(row, 'amount')).plus(decimalOf(row, 'transactionFee')).toFixed()
  const withdrawal = {
    asset: textOf(row, 'coin'),
    kind: 'withdrawal',
    exchangeKind: 'withdraw',
    at: utcTimeOf(row, 'applyTime')
  } as const
  const { entries } = entry(row, { ...withdrawal, exchangeEntryId: id, amount: negated(total) })
  const state = meaningOf(row, 'status', WITHDRAWALS_BY_STATE)
  if (state !== 'returned') return { entries, pendingAt: state === 'open' ? withdrawal.at : null }
  const returned = entry(row, { ...withdrawal, exchangeEntryId: `${id}:returned`, amount: total })
  return { entries: [...entries, ...returned.entries], pendingAt: null }
}

const TRANSFER_STATES: Readonly<Record<string, Outcome>> = { CONFIRMED: 'counts', PENDING: 'pending', FAILED: 'never' }

/** Source: developers.binance.com/docs/wallet/asset/query-user-universal-transfer @throws {UnreadableAnswer} */
function parseBinanceTransfer(row: JsonRecord): ReadRow {
  const at = millisOf(row, 'timestamp')
  const outcome = meaningOf(row, 'status', TRANSFER_STATES)
  if (outcome !== 'counts') return { entries: [], pendingAt: outcome === 'pending' ? at : null }
  const exchangeKind = textOf(row, 'type')
  const amount = decimalOf(row, 'amount')
  return entry(row, {
    exchangeEntryId: textOf(row, 'tranId'),
    asset: textOf(row, 'asset'),
    amount: exchangeKind.startsWith('MAIN_') ? negated(amount) : amount,
    kind: 'transfer',
    exchangeKind,
    at
  })
}

/** Airdrops, rewards, interest. Source: developers.binance.com/docs/wallet/asset/assets-divided-record @throws {UnreadableAnswer} */
function parseBinanceDividend(row: JsonRecord): ReadRow {
  const amount = decimalOf(row, 'amount')
  return entry(row, {
    exchangeEntryId: textOf(row, 'id'),
    asset: textOf(row, 'asset'),
    amount: optionalText(row, 'direction') === '-1' ? negated(amount) : amount,
    kind: 'dividend',
    exchangeKind: optionalText(row, 'enInfo') ?? 'dividend',
    at: millisOf(row, 'divTime')
  })
}

/**
 * Small amounts that were converted to BNB. What is transferred is without the charge, which is 2 % of both.
 *
 * Source: developers.binance.com/docs/wallet/asset/dust-log
 *
 * @throws {UnreadableAnswer}
 */
function parseBinanceDust(row: JsonRecord): ReadRow {
  const entries = listOf(row.userAssetDribbletDetails, 'the details of a conversion').flatMap(value => {
    const detail = recordOf(value, 'a detail')
    const from = textOf(detail, 'fromAsset')
    const id = `${textOf(row, 'transId')}:${from}`
    const dust = { kind: 'conversion', exchangeKind: 'dribblet', at: millisOf(detail, 'operateTime') } as const
    const given = { ...dust, exchangeEntryId: id, asset: from, amount: negated(decimalOf(detail, 'amount')) }
    const asset = optionalText(detail, 'targetAsset') ?? 'BNB'
    const taken = { ...dust, exchangeEntryId: `${id}:${asset}`, asset, amount: decimalOf(detail, 'transferedAmount') }
    return [...entry(detail, given).entries, ...entry(detail, taken).entries]
  })
  return { entries, pendingAt: null }
}

const CONVERT_STATES: Readonly<Record<string, Outcome>> = {
  SUCCESS: 'counts',
  PROCESS: 'pending',
  ACCEPT_SUCCESS: 'pending',
  FAIL: 'never'
}

/** Source: developers.binance.com/docs/convert/trade/Get-Convert-Trade-History @throws {UnreadableAnswer} */
function parseBinanceConvert(row: JsonRecord): ReadRow {
  const at = millisOf(row, 'createTime')
  const outcome = meaningOf(row, 'orderStatus', CONVERT_STATES)
  if (outcome !== 'counts') return { entries: [], pendingAt: outcome === 'pending' ? at : null }
  const wallet = optionalText(row, 'walletType')
  if (wallet === 'FUNDING' || wallet === 'EARN') return NOTHING
  const id = textOf(row, 'orderId')
  const conversion = { kind: 'conversion', exchangeKind: 'convert', at } as const
  const from = { ...conversion, asset: textOf(row, 'fromAsset'), amount: negated(decimalOf(row, 'fromAmount')) }
  const to = { ...conversion, asset: textOf(row, 'toAsset'), amount: decimalOf(row, 'toAmount') }
  return {
    entries: [
      ...entry(row, { ...from, exchangeEntryId: `${id}:from` }).entries,
      ...entry(row, { ...to, exchangeEntryId: `${id}:to` }).entries
    ],
    pendingAt: null
  }
}

/**
 * A row of the income of futures. Result and commission of a fill are none, if its fills are read. An id is unique per type;
 * both sides of an exchange have one id.
 *
 * @throws {UnreadableAnswer}
 */
function parseBinanceIncome(row: JsonRecord, isRead: (exchangeSymbol: string) => boolean): ReadRow {
  const exchangeKind = textOf(row, 'incomeType')
  const exchangeSymbol = optionalText(row, 'symbol')
  const isOfFill = INCOME_OF_FILLS.has(exchangeKind) && optionalText(row, 'tradeId') !== null
  if (isOfFill && exchangeSymbol !== null && isRead(exchangeSymbol)) return NOTHING
  const asset = textOf(row, 'asset')
  const trade = isOfFill ? `:${optionalText(row, 'tradeId')}` : ''
  return entry(row, {
    exchangeEntryId: `${exchangeKind}:${textOf(row, 'tranId')}:${asset}${trade}`,
    asset,
    amount: decimalOf(row, 'income'),
    kind: (Object.hasOwn(INCOME_KINDS, exchangeKind) ? INCOME_KINDS[exchangeKind] : undefined) ?? 'other',
    exchangeKind,
    at: millisOf(row, 'time')
  })
}

/** An entry unless its amount is zero. */
function entry(row: JsonRecord, fields: Omit<LedgerEntry, 'exchangeSymbol'>): ReadRow {
  if (isZero(fields.amount)) return NOTHING
  return { entries: [{ ...fields, exchangeSymbol: optionalText(row, 'symbol') }], pendingAt: null }
}

/** A time of UTC such as `2019-10-12 11:12:02`. @throws {UnreadableAnswer} */
function utcTimeOf(row: JsonRecord, field: string): Millis {
  const text = textOf(row, field)
  const millis = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text) ? Date.parse(`${text.replace(' ', 'T')}Z`) : Number.NaN
  if (!(millis > 0)) throw new UnreadableAnswer(`${field} is not a time`)
  return millis
}
