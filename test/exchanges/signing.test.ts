import t from 'tap'
import { hmacSha256 } from '../../src/exchanges/adapters/adapter.ts'
import { signBinance } from '../../src/exchanges/adapters/binance.ts'
import { signBybit } from '../../src/exchanges/adapters/bybit.ts'
import { signOkx } from '../../src/exchanges/adapters/okx.ts'
import { signWithToken } from '../../src/exchanges/adapters/upbit-dialect.ts'
import type { Credentials } from '../../src/exchanges/exchange-client.ts'
import { isRecord, type JsonRecord, recordOf, rowsOf, textOf } from '../../src/exchanges/http/answer-fields.ts'
import type { SignedParts } from '../../src/exchanges/http/exchange-call.ts'
import { fixture, recordedTest } from './fixtures.ts'

interface Vector {
  url: URL
  headers: Readonly<Record<string, string>>
  credentials: Credentials
  /** The other inputs of the vector. */
  given: JsonRecord
  clockMs: number
}

/** The signer of each exchange, and the parts of a vector that the signature covers. */
const SIGNERS: Readonly<Record<string, (vector: Vector) => { ours: SignedParts; theirs: SignedParts }>> = {
  binance: ({ url, headers, credentials }) => {
    const query = url.search.slice(1)
    const [unsigned = ''] = query.split('&signature=')
    return { ours: signBinance(unsigned, credentials), theirs: { query, headers: lowerCase(headers) } }
  },
  bybit: ({ url, headers, credentials, given, clockMs }) => {
    const query = url.search.slice(1)
    const ours = signBybit(query, credentials, clockMs, Number(given.recv_window))
    const { 'content-type': _, ...theirs } = lowerCase(headers)
    return { ours, theirs: { query, headers: theirs } }
  },
  okx: ({ url, headers, credentials, clockMs }) => {
    const query = url.search.slice(1)
    const ours = signOkx({ method: 'GET', path: url.pathname }, query, credentials, clockMs)
    return { ours, theirs: { query, headers: lowerCase(headers) } }
  },
  upbit: vector => withToken(vector, {}),
  bithumb: vector => withToken(vector, { timestamp: vector.clockMs })
}

for (const [exchange, sign] of Object.entries(SIGNERS)) {
  recordedTest(`signs for ${exchange} as in its vectors`, async t => {
    const file = fixture(`signing/${exchange}.json`)
    const given = recordOf(file.credentials_invented_for_the_vector, 'credentials')
    const credentials = {
      apiKey: textOf(given, 'api_key'),
      apiSecret: textOf(given, 'secret'),
      passphrase: typeof given.passphrase === 'string' ? given.passphrase : undefined
    }
    const cases = rowsOf(file.cases, 'cases')
    t.not(cases.length, 0)
    for (const row of cases) {
      const url = new URL(textOf(row, 'url'))
      const headers = textsOf(row.headers)
      const { ours, theirs } = sign({ url, headers, credentials, given, clockMs: Number(file.clock_ms) })
      t.strictSame(ours, theirs, url.pathname)
    }
  })
}

t.test('signs Binance’s own example', async t => {
  // From Binance's documentation of signed endpoints; the vectors above come from another implementation.
  const secret = 'NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j'
  const query =
    'symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559'
  t.equal(hmacSha256(secret, query, 'hex'), 'c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71')
})

// The signatures that follow were made with the command line of OpenSSL.
const AT = Date.UTC(2024, 4, 29, 16, 26, 40)
const NONCE = '00000000-0000-4000-8000-000000000001'
const HEADER = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9'

t.test('signs a query for Bybit', async t => {
  const credentials = { apiKey: 'bybit-key', apiSecret: 'bybit-secret' }
  const query = 'category=linear&symbol=SOLUSDT'
  t.strictSame(signBybit(query, credentials, AT, 5_000), {
    query,
    headers: {
      'x-bapi-api-key': 'bybit-key',
      'x-bapi-timestamp': '1717000000000',
      'x-bapi-recv-window': '5000',
      'x-bapi-sign': '3553c7f9eff893dcaa3dd9b501a8bff8d11cfd560647ada1082e5d41ebcbce06'
    }
  })
})

t.test('signs a path with and without a query for OKX', async t => {
  const credentials = { apiKey: 'okx-key', apiSecret: 'okx-secret', passphrase: 'words' }
  for (const [path, query, signature] of [
    ['/api/v5/trade/order', 'instId=ETH-USDT&ordId=3001', '/eC/seJciF7D6dy4Dl/QSOopWtm5MjJT9ixxhTst3Hs='],
    ['/api/v5/account/balance', '', 'qHghfJuEoxCMN3mWF3gTUzWd2KMXZWaS6YMIQeOI0xM=']
  ] as const) {
    t.strictSame(signOkx({ method: 'GET', path }, query, credentials, AT), {
      query,
      headers: {
        'ok-access-key': 'okx-key',
        'ok-access-passphrase': 'words',
        'ok-access-timestamp': '2024-05-29T16:26:40.000Z',
        'ok-access-sign': signature
      }
    })
  }
})

t.test('signs a token without a query for Upbit, and one with time and query for Bithumb', async t => {
  const credentials = { apiKey: 'token-key', apiSecret: 'token-secret' }
  t.strictSame(signWithToken('', credentials, NONCE), {
    query: '',
    headers: {
      authorization: `Bearer ${HEADER}.eyJhY2Nlc3Nfa2V5IjoidG9rZW4ta2V5Iiwibm9uY2UiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEifQ.r1q68PzVeBIJiz5Lak9MdSLVpZyo9tS5uOy7wTZRDvw`
    }
  })
  t.strictSame(signWithToken('uuid=u-1', credentials, NONCE, { timestamp: AT }), {
    query: 'uuid=u-1',
    headers: {
      authorization: `Bearer ${HEADER}.eyJhY2Nlc3Nfa2V5IjoidG9rZW4ta2V5Iiwibm9uY2UiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJ0aW1lc3RhbXAiOjE3MTcwMDAwMDAwMDAsInF1ZXJ5X2hhc2giOiJkYTgwMWNkOGRhZjMwZDU0MTQyNmI2NTdkYTRjZjJiNzlmZjE4NTcwOTc3NmM4NTFkMWYxNGVmOGExNGI1NDQ4ZGQ0NzI1Nzk0Mzc0MWIxYmMwNmZhMDk0MDhhZTQ4YjRlNDc0MjBhYWUyMTk1Y2ZiMDBiMWVjYjMyZmJjY2VlMiIsInF1ZXJ5X2hhc2hfYWxnIjoiU0hBNTEyIn0.N1Vh3nETyhE2uuGL47YGx9842GE4i_G227AaVzPjmWM`
    }
  })
})

function withToken({ url, headers, credentials, given }: Vector, claims: Record<string, number>) {
  const query = url.search.slice(1)
  const ours = signWithToken(query, credentials, String(given.nonce), claims)
  const { accept: _, ...theirs } = lowerCase(headers)
  return { ours, theirs: { query, headers: theirs } }
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function textsOf(value: unknown): Record<string, string> {
  const entries = isRecord(value) ? Object.entries(value) : []
  return Object.fromEntries(entries.map(([name, text]) => [name, String(text)]))
}
