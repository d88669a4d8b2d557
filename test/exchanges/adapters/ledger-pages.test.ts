import t from 'tap'
import { DAY } from '../../../src/async/durations.ts'
import { BithumbClient } from '../../../src/exchanges/adapters/bithumb.ts'
import { BybitClient } from '../../../src/exchanges/adapters/bybit.ts'
import { OkxClient } from '../../../src/exchanges/adapters/okx.ts'
import { UpbitClient } from '../../../src/exchanges/adapters/upbit.ts'
import type { ExchangeClient, InvalidRow } from '../../../src/exchanges/exchange-client.ts'
import { type Answers, CannedGateway } from '../../support/canned-gateway.ts'
import { failureOf } from '../failure.ts'

/** The time of the exchange. */
const NOW = 1_700_000_000_000
const CLIENTS = { OKX: OkxClient, BYBIT: BybitClient, UPBIT: UpbitClient, BITHUMB: BithumbClient }
type Name = keyof typeof CLIENTS
const NAMES = Object.keys(CLIENTS) as Name[]

function clientOf(exchange: Name, answers: Answers): { gateway: CannedGateway; client: ExchangeClient } {
  const gateway = new CannedGateway(exchange, answers)
  const credentials = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
  const context = { gateway, marketType: 'SPOT' as const, isTestnet: false, credentials, baseUrl: 'https://x.example' }
  return { gateway, client: new CLIENTS[exchange](context) }
}

const read = (client: ExchangeClient, from: number, until: number, onInvalidRow?: (row: InvalidRow) => void) =>
  client.ledger({ from, until }, onInvalidRow && { onInvalidRow })

const koreanTime = (at: number) => `${new Date(at + 9 * 3_600_000).toISOString().slice(0, 19)}+09:00`

/** A row with an amount of 1 at a time, as the exchange writes it. */
const ROW: Record<Name, (id: number, at: number) => object> = {
  OKX: (id, at) => ({ billId: `${id}`, type: '1', subType: '11', ccy: 'USDT', balChg: '1', ts: `${at}` }),
  BYBIT: (id, at) => ({ id: `${id}`, type: 'TRANSFER_IN', currency: 'USDT', change: '1', transactionTime: `${at}` }),
  UPBIT: (id, at) => deposit(id, at, 'ACCEPTED'),
  BITHUMB: (id, at) => deposit(id, at, 'DEPOSIT_ACCEPTED')
}

function deposit(id: number, at: number, state: string) {
  const time = koreanTime(at)
  return { uuid: `${id}`, currency: 'USDT', state, created_at: time, done_at: time, amount: '1', fee: '0' }
}

/** Answers of one list with these rows, the newest first, in the pages of the exchange. Other lists are empty. */
function pagesOf(exchange: Name, rows: readonly { id: number; at: number }[]): Answers {
  const written = rows.map(({ id, at }) => ({ at, row: ROW[exchange](id, at) }))
  return (path, query) => {
    const asked = new URLSearchParams(query)
    const limit = Number(asked.get('limit'))
    if (exchange === 'OKX') {
      const listed = written.filter(({ at }) => at >= Number(asked.get('begin')) && at <= Number(asked.get('end')))
      const after = asked.get('after')
      const begin = after === null ? 0 : listed.findIndex(({ row }) => 'billId' in row && row.billId === after) + 1
      return { status: 200, body: { code: '0', data: listed.slice(begin, begin + limit).map(({ row }) => row) } }
    }
    if (exchange === 'BYBIT') {
      const [start, end] = [Number(asked.get('startTime')), Number(asked.get('endTime'))]
      const listed = written.filter(({ at }) => at >= start && at <= end)
      const begin = Number(asked.get('cursor') ?? 0)
      const nextPageCursor = begin + limit < listed.length ? `${begin + limit}` : ''
      const list = listed.slice(begin, begin + limit).map(({ row }) => row)
      return { status: 200, body: { retCode: 0, result: { list, nextPageCursor } } }
    }
    if (path !== '/v1/deposits') return { status: 200, body: [] }
    const begin = (Number(asked.get('page')) - 1) * limit
    return { status: 200, body: written.slice(begin, begin + limit).map(({ row }) => row) }
  }
}

const ids = (count: number, at: number) => Array.from({ length: count }, (_, index) => ({ id: count - index, at }))

for (const exchange of NAMES) {
  t.test(`${exchange}: an empty ledger is complete`, async t => {
    const { client } = clientOf(exchange, pagesOf(exchange, []))
    t.strictSame(await read(client, NOW - DAY, NOW), { entries: [], completeUntil: NOW })
  })

  t.test(`${exchange}: a thousand entries of one moment are read once each`, async t => {
    const at = NOW - DAY
    const { client } = clientOf(exchange, pagesOf(exchange, ids(1_000, at)))
    const reading = await read(client, at, NOW)
    const found = new Set(reading.entries.map(({ exchangeEntryId }) => exchangeEntryId))
    t.equal(found.size, 1_000)
    t.equal(reading.entries.length, 1_000)
    t.equal(reading.completeUntil, NOW)
  })

  t.test(`${exchange}: a page that is full is not the last one`, async t => {
    for (const count of [50, 100]) {
      const { client } = clientOf(exchange, pagesOf(exchange, ids(count, NOW - DAY)))
      t.equal((await read(client, NOW - 2 * DAY, NOW)).entries.length, count)
    }
  })

  t.test(`${exchange}: the beginning of a range is a part of it, and its end is not`, async t => {
    const [from, until] = [NOW - 20 * DAY, NOW - 2 * DAY]
    const second = 1_000
    const times = [until, until - second, from, from - second]
    const { client } = clientOf(
      exchange,
      pagesOf(
        exchange,
        times.map((at, id) => ({ id, at }))
      )
    )
    t.strictSame(
      (await read(client, from, until)).entries.map(({ at }) => at),
      [from, until - second]
    )
  })

  t.test(`${exchange}: pages that repeat are an error`, async t => {
    const rows = ids(100, NOW - DAY)
    const first = pagesOf(exchange, rows)
    const { client } = clientOf(exchange, (path, query) => {
      const asked = new URLSearchParams(query)
      asked.delete('after')
      asked.delete('cursor')
      if (asked.has('page')) asked.set('page', '1')
      return first(path, asked.toString())
    })
    const { code, message } = await failureOf(read(client, NOW - 2 * DAY, NOW))
    t.equal(code, 'invalid_answer')
    t.match(message, /its pages repeat$/)
  })

  t.test(`${exchange}: a row that cannot be read is reported, and bounds what is complete`, async t => {
    const [good, bad] = [NOW - 2 * DAY, NOW - DAY]
    const answers = pagesOf(exchange, [
      { id: 2, at: bad },
      { id: 1, at: good }
    ])
    const unreadable: Answers = (path, query) => {
      const answer = answers(path, query)
      const body = JSON.stringify(answer?.body).replace(/"(amount|change|balChg)":"1"/, '"$1":"many"')
      return { status: 200, body }
    }
    const { client } = clientOf(exchange, unreadable)
    const rows: InvalidRow[] = []
    const reading = await read(client, NOW - 3 * DAY, NOW, row => rows.push(row))
    t.strictSame(
      reading.entries.map(({ at }) => at),
      [good]
    )
    t.equal(reading.completeUntil, bad)
    t.strictSame(
      rows.map(({ kind, times }) => ({ kind, times })),
      [{ kind: 'unreadable', times: 1 }]
    )
    t.equal((await failureOf(read(client, NOW - 3 * DAY, NOW))).code, 'invalid_answer')
  })

  t.test(`${exchange}: with a row without a time, nothing of the range is complete`, async t => {
    const answers = pagesOf(exchange, [{ id: 1, at: NOW - DAY }])
    const { client } = clientOf(exchange, (path, query) => {
      const body = JSON.stringify(answers(path, query)?.body).replace(
        /"(ts|transactionTime|created_at)":"[^"]*"/,
        '"$1":"?"'
      )
      return { status: 200, body }
    })
    const reading = await read(client, NOW - 3 * DAY, NOW, () => undefined)
    t.strictSame(reading, { entries: [], completeUntil: NOW - 3 * DAY })
  })
}

t.test('Bybit: a long range is read in windows of at most seven days, without gaps', async t => {
  const [from, until] = [NOW - 16 * DAY, NOW - DAY]
  const { client, gateway } = clientOf('BYBIT', pagesOf('BYBIT', []))
  await read(client, from, until)
  const windows = gateway
    .requests()
    .reverse()
    .map(request => {
      const query = new URLSearchParams(request.split('?')[1])
      return { start: Number(query.get('startTime')), end: Number(query.get('endTime')) }
    })
  t.equal(windows.length, 3)
  t.equal(windows[0]?.start, from - 1)
  t.equal(windows.at(-1)?.end, until)
  for (const { start, end } of windows) t.ok(end - start <= 7 * DAY, `at most seven days: ${end - start}`)
  for (const [index, { start }] of windows.slice(1).entries()) t.equal(start, (windows[index]?.end ?? 0) - 1)
})

t.test('Bybit: a row on the border of two windows counts once', async t => {
  const from = NOW - 16 * DAY
  for (const offset of [-2, -1, 0, 1]) {
    const at = from + 7 * DAY + offset
    const { client } = clientOf('BYBIT', pagesOf('BYBIT', [{ id: 1, at }]))
    t.strictSame(
      (await read(client, from, NOW)).entries.map(entry => entry.at),
      [at]
    )
  }
})

t.test('OKX: bills of the last seven days are read from the first list, older ones from the archive', async t => {
  const at = NOW - 30 * DAY
  const { client, gateway } = clientOf(
    'OKX',
    pagesOf('OKX', [
      { id: 2, at: NOW - DAY },
      { id: 1, at }
    ])
  )
  const paths = async (from: number, until: number) => {
    gateway.calls.length = 0
    const count = (await read(client, from, until)).entries.length
    return { count, paths: gateway.calls.map(({ path, costs }) => `${path} ${costs}`) }
  }
  const [recent, older] = ['/api/v5/account/bills 1 bills', '/api/v5/account/bills-archive 1 bills-archive']
  t.strictSame(await paths(NOW - 6 * DAY, NOW), { count: 1, paths: [recent] })
  t.strictSame(await paths(NOW - 60 * DAY, NOW), { count: 2, paths: [older, recent] })
  t.strictSame(await paths(NOW - 60 * DAY, NOW - 20 * DAY), { count: 1, paths: [older] })
})

t.test('Upbit: lists are read back to thirty days before the range', async t => {
  const daily = Array.from({ length: 400 }, (_, day) => ({ id: day, at: NOW - (day + 1) * DAY }))
  const { client, gateway } = clientOf('UPBIT', pagesOf('UPBIT', daily))
  t.equal((await read(client, NOW - 100 * DAY, NOW)).entries.length, 100)
  const pages = gateway.calls.filter(({ path }) => path === '/v1/deposits').map(({ query }) => query.split('&')[0])
  t.strictSame(pages, ['page=1', 'page=2'])
})

t.test('Upbit: a deposit that was pending for a month is an entry of the range in which it is credited', async t => {
  const created = NOW - 40 * DAY
  const pending = { ...deposit(1, created, 'PROCESSING'), done_at: null }
  const answer =
    (row: object): Answers =>
    path => ({ status: 200, body: path === '/v1/deposits' ? [row] : [] })
  const { client, gateway } = clientOf('UPBIT', answer(pending))
  const first = await read(client, NOW - 50 * DAY, NOW - 20 * DAY)
  t.strictSame(first, { entries: [], completeUntil: created })
  // Nothing before the beginning of a range becomes incomplete by an older one.
  t.equal((await read(client, NOW - 30 * DAY, NOW - 20 * DAY)).completeUntil, NOW - 30 * DAY)
  const credited = NOW - 10 * DAY
  gateway.answers = answer({ ...deposit(1, created, 'ACCEPTED'), done_at: koreanTime(credited) })
  const second = await read(client, created, NOW)
  t.strictSame(
    second.entries.map(({ at, amount }) => ({ at, amount })),
    [{ at: credited, amount: '1' }]
  )
  t.equal(second.completeUntil, NOW)
})

t.test('Upbit: a deposit that is credited after the range in which it was created is an entry of it, too', async t => {
  const [created, credited] = [NOW - 60 * DAY, NOW - 10 * DAY]
  const row = { ...deposit(1, created, 'ACCEPTED'), done_at: koreanTime(credited) }
  const { client } = clientOf('UPBIT', path => ({ status: 200, body: path === '/v1/deposits' ? [row] : [] }))
  const times = async (from: number, until: number) => (await read(client, from, until)).entries.map(({ at }) => at)
  t.strictSame(await times(created, created + DAY), [credited])
  t.strictSame(await times(credited, NOW), [credited])
  t.strictSame(await times(credited + 1, NOW), [])
  t.strictSame(await times(created - DAY, created), [])
})

t.test('what a ledger costs is counted for the limits of the exchange', async t => {
  const costs = async (exchange: Name) => {
    const { client, gateway } = clientOf(exchange, pagesOf(exchange, []))
    await read(client, NOW - DAY, NOW)
    return gateway.calls.map(call => `${call.operation}: ${call.costs}`)
  }
  t.strictSame(await costs('OKX'), ['ledger: 1 bills'])
  t.strictSame(await costs('BYBIT'), ['ledger: 1 address, 1 key'])
  t.strictSame(await costs('UPBIT'), ['ledger: 1 private', 'ledger: 1 private'])
  t.strictSame(
    await costs('BITHUMB'),
    Array.from({ length: 4 }, () => 'ledger: 1 private')
  )
})

t.test('how far back the ledgers reach', async t => {
  const reach = (exchange: Name) => clientOf(exchange, () => undefined).client.ledgerReachMs
  t.strictSame(NAMES.map(reach), [89 * DAY, 730 * DAY, 7_300 * DAY, 7_300 * DAY])
})
