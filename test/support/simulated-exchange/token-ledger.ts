import { Big } from 'big.js'
import { LosslessNumber, stringify } from 'lossless-json'
import type { ExchangeName } from '../../../src/domain/market.ts'
import type { SimulatedAnswer } from './dialect.ts'
import type { SimulatedEntry } from './ledger.ts'
import type { SimulatedAccount } from './market.ts'

/** The lists of each exchange: the kind of their entries, and whether they have won, coins or both. */
const LISTS: Readonly<
  Partial<Record<ExchangeName, Readonly<Record<string, { kind: string; has?: 'krw' | 'coins' }>>>>
> = {
  UPBIT: { '/v1/deposits': { kind: 'deposit' }, '/v1/withdraws': { kind: 'withdrawal' } },
  BITHUMB: {
    '/v1/deposits': { kind: 'deposit', has: 'coins' },
    '/v1/deposits/krw': { kind: 'deposit', has: 'krw' },
    '/v1/withdraws': { kind: 'withdrawal', has: 'coins' },
    '/v1/withdraws/krw': { kind: 'withdrawal', has: 'krw' }
  }
}
const MOST_ROWS = 100

/** The answer of a list of deposits or withdrawals; null for every other path. */
export function transferList(
  exchange: ExchangeName,
  path: string,
  account: SimulatedAccount,
  query: URLSearchParams
): SimulatedAnswer | null {
  const list = LISTS[exchange]?.[path]
  if (list === undefined) return null
  const rows = account.entries
    .filter(({ listed, kind, asset }) => listed && kind === list.kind && isListed(asset, list.has))
    .sort((a, b) => a.at - b.at || a.serial - b.serial)
    .map((entry, index) => rowOf(exchange, entry, index))
  if (query.get('order_by') !== 'asc') rows.reverse()
  const limit = Math.min(MOST_ROWS, Number(query.get('limit') ?? MOST_ROWS))
  const begin = (Number(query.get('page') ?? 1) - 1) * limit
  return { status: 200, body: stringify(rows.slice(begin, begin + limit)) ?? '[]' }
}

function isListed(asset: string, has: 'krw' | 'coins' | undefined): boolean {
  return has === undefined || (has === 'krw') === (asset === 'KRW')
}

function rowOf(exchange: ExchangeName, entry: SimulatedEntry, index: number) {
  const { kind, asset, amount, fee, at, endedAt, serial } = entry
  const isUpbit = exchange === 'UPBIT'
  // Upbit writes texts, Bithumb numbers, with an exponent where they are small.
  const number = (value: Big) => (isUpbit ? value.toFixed() : new LosslessNumber(value.toString()))
  const net = kind === 'deposit' ? new Big(amount) : new Big(amount).abs().minus(fee)
  return {
    type: kind === 'deposit' ? 'deposit' : 'withdraw',
    // Bithumb numbers the transfers of each list.
    uuid: isUpbit ? `94332e99-3a87-4a35-ad98-${String(serial).padStart(12, '0')}` : `${202_000_000 + index}`,
    currency: asset,
    net_type: asset === 'KRW' ? null : asset,
    txid: `0x${serial}`,
    state: entry.word ?? stateOf(isUpbit || asset === 'KRW', entry),
    created_at: koreanTime(at),
    done_at: endedAt === null ? null : koreanTime(endedAt),
    amount: number(net),
    fee: number(new Big(fee)),
    transaction_type: 'default'
  }
}

function stateOf(isPlain: boolean, { kind, state }: SimulatedEntry): string {
  if (kind === 'withdrawal') return { pending: 'PROCESSING', done: 'DONE', failed: 'CANCELLED' }[state]
  const plain = { pending: 'PROCESSING', done: 'ACCEPTED', failed: 'CANCELLED' }[state]
  return isPlain ? plain : `DEPOSIT_${plain}`
}

/** ISO 8601 in whole seconds, with the offset of Korea. */
function koreanTime(at: number): string {
  return `${new Date(at + 9 * 3_600_000).toISOString().slice(0, 19)}+09:00`
}
