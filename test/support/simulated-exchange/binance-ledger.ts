import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { LedgerEntry } from '../../../src/domain/ledger-entry.ts'
import type { Book, SimulatedAnswer } from './dialect.ts'
import { json, timeIn } from './dialect.ts'
import { listedEntries, type SimulatedEntry } from './ledger.ts'
import type { SimulatedAccount } from './market.ts'

/** Words of the futures list for kinds without a word of their own. */
const INCOME_TYPES: Readonly<Partial<Record<LedgerEntry['kind'], string>>> = {
  funding: 'FUNDING_FEE',
  transfer: 'TRANSFER',
  rebate: 'COMMISSION_REBATE',
  liquidation: 'INSURANCE_CLEAR',
  conversion: 'AUTO_EXCHANGE',
  dividend: 'CONTEST_REWARD',
  interest: 'BFUSD_REWARD',
  commission: 'POSITION_LIMIT_INCREASE_FEE'
}
const TRANSFER_NAMES: Readonly<Record<string, string>> = {
  SPOT: 'MAIN',
  FUTURES: 'UMFUTURE',
  FUNDING: 'FUNDING',
  MARGIN: 'MARGIN'
}
/** Kinds that the list of distributions has. */
const DISTRIBUTED: readonly string[] = ['dividend', 'interest', 'rebate', 'other']
const DEPOSIT_STATES = { pending: 0, done: 1, failed: 7 }
const WITHDRAWAL_STATES = { pending: 4, done: 6, failed: 1 }
const TRANSFER_STATES = { pending: 'PENDING', done: 'CONFIRMED', failed: 'FAILED' }

/** What a list needs for an answer. */
interface ListRequest {
  account: SimulatedAccount
  query: URLSearchParams
  book: Book
}

const LISTS: Readonly<Record<string, (request: ListRequest) => SimulatedAnswer>> = {
  '/fapi/v1/income': income,
  '/sapi/v1/capital/deposit/hisrec': deposits,
  '/sapi/v1/capital/withdraw/history': withdrawals,
  '/sapi/v1/asset/transfer': transfers,
  '/sapi/v1/asset/assetDividend': dividends,
  '/sapi/v1/asset/dribblet': dust,
  '/sapi/v1/convert/tradeFlow': converts
}

/** The answer of a list of the ledger; null for every other path. */
export function binanceLedger(path: string, request: ListRequest): SimulatedAnswer | null {
  return LISTS[path]?.(request) ?? null
}

/** Entries and fills of the last three months, the oldest first, in pages. A transfer of the other wallet is listed here, too. */
function income({ account, query, book }: ListRequest): SimulatedAnswer {
  const from = Math.max(timeIn(query, 'startTime', book.now() - 7 * DAY), book.now() - 90 * DAY)
  const to = timeIn(query, 'endTime', book.now())
  const rows = [
    ...listedEntries(account, 'FUTURES', from, to).map(entry => ({
      at: entry.at,
      row: incomeRow(entry.word ?? INCOME_TYPES[entry.kind] ?? 'OTHER', entry)
    })),
    ...account.orders
      .filter(({ market }) => market === 'FUTURES')
      .flatMap(order => order.fills.map(fill => ({ order, fill })))
      .filter(({ fill }) => fill.listed && fill.at >= from && fill.at <= to)
      .flatMap(({ order, fill }) => {
        const of = { symbol: order.exchangeSymbol, time: fill.at, tradeId: fill.tradeId, tranId: Number(fill.tradeId) }
        const fee = new Big(fill.fee).neg().toFixed()
        return [
          {
            at: fill.at,
            row: { ...of, incomeType: 'COMMISSION', income: fee, asset: fill.feeAsset, info: fill.tradeId }
          },
          { at: fill.at, row: { ...of, incomeType: 'REALIZED_PNL', income: fill.realizedPnl, asset: 'USDT', info: '' } }
        ]
      })
  ].sort((a, b) => a.at - b.at)
  return json(pageOf(rows, query, { page: 'page', size: 'limit', usual: 100, most: 1_000 }).map(({ row }) => row))
}

function incomeRow(incomeType: string, { symbol, amount, asset, at, group }: SimulatedEntry) {
  return {
    symbol: symbol ?? '',
    incomeType,
    income: amount,
    asset,
    info: incomeType,
    time: at,
    tranId: group,
    tradeId: ''
  }
}

function deposits(request: ListRequest): SimulatedAnswer {
  return byRequestTime(request, 'deposit', entry => ({
    id: `${769_800_519_366_885_376n + BigInt(entry.serial)}`,
    amount: entry.amount,
    coin: entry.asset,
    network: 'ETH',
    status: DEPOSIT_STATES[entry.state],
    address: '0x788cabe9236ce061e5a892e1a59395a81fc8d62c',
    addressTag: '',
    txId: `0x${String(entry.serial).padStart(64, '0')}`,
    insertTime: entry.at,
    ...(entry.endedAt !== null && { completeTime: entry.endedAt }),
    transferType: 0,
    confirmTimes: '12/12',
    unlockConfirm: 12,
    walletType: 0
  }))
}

function withdrawals(request: ListRequest): SimulatedAnswer {
  return byRequestTime(request, 'withdrawal', entry => ({
    id: String(entry.serial).padStart(32, 'b'),
    amount: new Big(entry.amount).abs().minus(entry.fee).toFixed(),
    transactionFee: entry.fee,
    coin: entry.asset,
    status: WITHDRAWAL_STATES[entry.state],
    address: '0x94df8b352de7f46f64b01d3666bf6e936e44ce60',
    txId: entry.state === 'done' ? `0x${String(entry.serial).padStart(64, '0')}` : '',
    applyTime: textTime(entry.at),
    network: 'ETH',
    transferType: 0,
    confirmNo: 3,
    walletType: 0,
    txKey: '',
    ...(entry.state === 'done' && entry.endedAt !== null && { completeTime: textTime(entry.endedAt) })
  }))
}

/** Deposits or withdrawals, the newest first; at most 90 days between the times. */
function byRequestTime(
  { account, query, book }: ListRequest,
  kind: 'deposit' | 'withdrawal',
  rowOf: (entry: SimulatedEntry) => unknown
): SimulatedAnswer {
  const to = timeIn(query, 'endTime', book.now())
  const from = timeIn(query, 'startTime', to - 90 * DAY)
  if (to - from > 90 * DAY) return invalidInterval()
  const rows = listedEntries(account, 'SPOT', from, to, entry => entry.kind === kind).reverse()
  const offset = Number(query.get('offset') ?? 0)
  const limit = Math.min(1_000, Number(query.get('limit') ?? 1_000))
  return json(rows.slice(offset, offset + limit).map(rowOf))
}

/** The transfers of one type in the last six months, the newest first. */
function transfers({ account, query, book }: ListRequest): SimulatedAnswer {
  const type = query.get('type')
  if (type === null) return json({ code: -1102, msg: "Mandatory parameter 'type' was not sent." }, 400)
  const to = timeIn(query, 'endTime', book.now())
  const from = Math.max(timeIn(query, 'startTime', to - 7 * DAY), book.now() - 180 * DAY)
  const rows = listedEntries(account, 'SPOT', from, to, entry => entry.kind === 'transfer' && typeOf(entry) === type)
  return json({
    total: rows.length,
    rows: pageOf(rows.reverse(), query, { page: 'current', size: 'size', usual: 10, most: 100 }).map(entry => ({
      asset: entry.asset,
      amount: new Big(entry.amount).abs().toFixed(),
      type,
      status: TRANSFER_STATES[entry.state],
      tranId: entry.group,
      timestamp: entry.at
    }))
  })
}

function typeOf({ amount, other }: SimulatedEntry): string {
  const name = TRANSFER_NAMES[other ?? 'FUNDING'] ?? 'MARGIN'
  return amount.startsWith('-') ? `MAIN_${name}` : `${name}_MAIN`
}

/** Distributions, the newest first, without pages; at most 180 days between the times. */
function dividends({ account, query, book }: ListRequest): SimulatedAnswer {
  const to = timeIn(query, 'endTime', book.now())
  const from = timeIn(query, 'startTime', to - 180 * DAY)
  if (to - from > 180 * DAY) return invalidInterval()
  const rows = listedEntries(account, 'SPOT', from, to, ({ kind }) => DISTRIBUTED.includes(kind)).reverse()
  const limit = Math.min(500, Number(query.get('limit') ?? 20))
  return json({
    rows: rows.slice(0, limit).map(({ serial, group, amount, asset, at, word }) => ({
      id: 1_637_366_104 + serial,
      amount: new Big(amount).abs().toFixed(),
      asset,
      divTime: at,
      enInfo: word ?? `${asset} distribution`,
      tranId: 2_968_885_920 + group,
      direction: amount.startsWith('-') ? -1 : 1
    })),
    total: rows.length
  })
}

/** The last hundred conversions of dust. What they charge is no part of what is transferred. */
function dust({ account, query, book }: ListRequest): SimulatedAnswer {
  const to = timeIn(query, 'endTime', book.now())
  const from = timeIn(query, 'startTime', 0)
  const isDust = ({ kind, word }: SimulatedEntry) => kind === 'conversion' && word === 'dust'
  const groups = byGroup(listedEntries(account, 'SPOT', from, to, isDust)).slice(-100)
  return json({
    total: groups.length,
    userAssetDribblets: groups.map(({ given, taken }) => {
      const charge = new Big(taken.amount).div(49).round(8).toFixed()
      const ofAll = { operateTime: given.at, transId: 45_178_372_831 + given.group }
      return {
        ...ofAll,
        totalTransferedAmount: taken.amount,
        totalServiceChargeAmount: charge,
        userAssetDribbletDetails: [
          {
            ...ofAll,
            serviceChargeAmount: charge,
            amount: new Big(given.amount).abs().toFixed(),
            transferedAmount: taken.amount,
            fromAsset: given.asset
          }
        ]
      }
    })
  })
}

/** Conversions of at most 30 days, without pages. */
function converts({ account, query }: ListRequest): SimulatedAnswer {
  const [from, to] = [timeIn(query, 'startTime', Number.NaN), timeIn(query, 'endTime', Number.NaN)]
  if (!(to - from <= 30 * DAY)) return invalidInterval()
  const limit = Math.min(1_000, Number(query.get('limit') ?? 100))
  const isConvert = ({ kind, word }: SimulatedEntry) => kind === 'conversion' && word !== 'dust'
  const groups = byGroup(listedEntries(account, 'SPOT', from, to, isConvert))
  return json({
    list: groups.slice(0, limit).map(({ given, taken }) => ({
      quoteId: `f3b91c525b2644c7bc1e1cd3${given.group}`,
      orderId: 940_708_407_462_087 + given.group,
      orderStatus: given.state === 'done' ? 'SUCCESS' : given.state === 'pending' ? 'PROCESS' : 'FAIL',
      fromAsset: given.asset,
      fromAmount: new Big(given.amount).abs().toFixed(),
      toAsset: taken.asset,
      toAmount: taken.amount,
      ratio: '1',
      inverseRatio: '1',
      createTime: given.at
    })),
    startTime: from,
    endTime: to,
    limit,
    moreData: groups.length > limit
  })
}

/** The two sides of conversions. */
function byGroup(entries: readonly SimulatedEntry[]): { given: SimulatedEntry; taken: SimulatedEntry }[] {
  return entries
    .filter(({ amount }) => amount.startsWith('-'))
    .flatMap(given => {
      const taken = entries.find(other => other.group === given.group && other !== given)
      return taken === undefined ? [] : [{ given, taken }]
    })
}

function pageOf<T>(
  rows: readonly T[],
  query: URLSearchParams,
  { page, size, usual, most }: { page: string; size: string; usual: number; most: number }
): T[] {
  const length = Math.min(most, Number(query.get(size) ?? usual))
  const begin = (Number(query.get(page) ?? 1) - 1) * length
  return rows.slice(begin, begin + length)
}

function invalidInterval(): SimulatedAnswer {
  return json({ code: -1128, msg: 'Combination of optional parameters invalid.' }, 400)
}

/** A time of UTC in whole seconds: `2019-10-12 11:12:02`. */
function textTime(at: number): string {
  return new Date(at).toISOString().slice(0, 19).replace('T', ' ')
}
