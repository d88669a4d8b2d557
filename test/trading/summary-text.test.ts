import t from 'tap'
import type { AccountSummary } from '../../src/trading/daily-summaries.ts'
import type { SentValues } from '../../src/trading/sent-summaries.ts'
import { isOutdated } from '../../src/trading/summary-ages.ts'
import { accountText, summaryText } from '../../src/trading/summary-text.ts'

const AT = new Date('2026-11-24T12:00:00Z')
const maxAges = { ordersMs: 87_000, marksMs: 921_000, balancesMs: 177_000 }
const en = { language: 'en', timeZone: 'Asia/Seoul', maxAges } as const
const ko = { ...en, language: 'ko' } as const

const summary = (rest: Partial<AccountSummary> = {}): AccountSummary => ({
  account_id: '1',
  account: 'main',
  exchange: 'BINANCE',
  is_testnet: false,
  credentials_refused: false,
  chat_id: null,
  currency: 'USDT',
  start_balance: '1000',
  end_balance: '1234567.8900000',
  realized_pnl: '12.50',
  unrealized_pnl: '-3',
  fees: '2.5',
  fees_unknown: 0,
  funding: '0',
  interest: '0',
  executions: 9,
  trades: 4,
  wins: 2,
  losses: 1,
  win_rate: '0.66666666666666666667',
  volume: '123456',
  max_drawdown: '-0.12345',
  equity: '1500.25',
  equity_return: '0.015',
  equity_gaps: 0,
  equity_unvalued: 0,
  is_final: true,
  at: AT,
  balances_as_of: null,
  orders_as_of: null,
  marks_as_of: null,
  positions_unmarked: 0,
  positions_old_mark: 0,
  ...rest
})

t.test('the message has the day, the time in the zone, the accounts and the footnote', async t => {
  const at = new Date('2026-11-24T15:30:00Z')
  const options = { day: '2026-11-25', at, timeZone: 'Asia/Seoul' }
  t.strictSame(summaryText(['A', 'B'], { ...options, language: 'en' }).split('\n'), [
    '📊 <b>Daily summary 2026-11-25</b>',
    'As of: 2026-11-25 00:30 (Asia/Seoul)',
    '',
    'A',
    '',
    'B',
    '',
    '<i>Net = realised − fees + funding − interest. A trade is a position from flat to flat. Amounts in different currencies are not added.</i>'
  ])
  t.strictSame(summaryText([], { ...options, language: 'ko' }).split('\n'), [
    '📊 <b>일일 요약 2026-11-25</b>',
    '기준 시각: 2026-11-25 00:30 (Asia/Seoul)',
    '',
    '<i>순손익 = 실현 손익 − 수수료 + 펀딩 − 이자. 거래는 포지션을 열고 모두 닫은 한 번입니다. 통화가 다른 금액은 합산하지 않습니다.</i>'
  ])
})

t.test('an account has a heading and three lines per currency', async t => {
  t.strictSame(accountText([summary(), summary({ currency: 'BTC' })], en).split('\n'), [
    '<b>main</b> (Binance)',
    ...['USDT', 'BTC'].flatMap(currency => [
      `• <b>${currency}</b> Balance 1,000 → 1,234,567.89`,
      '  Net +10, Realised +12.5, Fees 2.5',
      '  Trades 4 (won 2, lost 1), Win rate 66.67%, Executions 9, Volume 123,456',
      '  Unrealised -3',
      '  Equity 1,500.25, return +1.50%, Drawdown -12.35%'
    ])
  ])
})

t.test('the amounts have Korean labels', async t => {
  const refused = summary({ is_testnet: true, credentials_refused: true, exchange: 'UPBIT', fees_unknown: 2 })
  t.strictSame(accountText([refused, summary({ executions: 0, trades: 0 })], ko).split('\n'), [
    '<b>main</b> (Upbit) [테스트넷]',
    '⚠️ 거래소가 인증을 거부하여 값이 오래되었을 수 있음',
    '• <b>USDT</b> 잔고 1,000 → 1,234,567.89',
    '  순손익 +10, 실현 손익 +12.5, 수수료 2.5, 금액을 알 수 없는 수수료 2',
    '  거래 4 (승 2, 패 1), 승률 66.67%, 체결 9, 거래대금 123,456',
    '  미실현 손익 -3',
    '  평가 자산 1,500.25, 수익률 +1.50%, 최대 낙폭 -12.35%',
    '• <b>USDT</b> 잔고 1,000 → 1,234,567.89',
    '  거래 없음',
    '  미실현 손익 -3',
    '  평가 자산 1,500.25, 수익률 +1.50%, 최대 낙폭 -12.35%'
  ])
})

t.test('refused credentials, a testnet and fees of unknown value are shown', async t => {
  const refused = summary({
    is_testnet: true,
    credentials_refused: true,
    exchange: 'NEW',
    fees: '1250.50',
    fees_unknown: 1
  })
  t.strictSame(accountText([refused], en).split('\n').slice(0, 4), [
    '<b>main</b> (NEW) [testnet]',
    '⚠️ the exchange refuses the credentials: figures may be old',
    '• <b>USDT</b> Balance 1,000 → 1,234,567.89',
    '  Net -1,238, Realised +12.5, Fees 1,250.5, fees of unknown value 1'
  ])
})

t.test('funding and interest are part of the net result, and shown where there are some', async t => {
  const lines = (rest: Partial<AccountSummary>) =>
    accountText([summary(rest)], en)
      .split('\n')
      .slice(2, -2)
  const counts = '  Trades 4 (won 2, lost 1), Win rate 66.67%, Executions 9, Volume 123,456'
  t.strictSame(lines({ funding: '-1.5', interest: '0.25' }), [
    '  Net +8.25, Realised +12.5, Fees 2.5, Funding -1.5, Interest 0.25',
    counts
  ])
  const idle = { realized_pnl: '0', fees: '0', executions: 0, trades: 0 }
  t.strictSame(lines({ ...idle, funding: '3' }), ['  Net +3, Realised 0, Fees 0, Funding +3', '  No trades'])
})

t.test('an unknown value is a question mark or is left out', async t => {
  const unknown = { start_balance: null, end_balance: null, unrealized_pnl: null, win_rate: null, equity: null }
  t.strictSame(
    accountText([summary(unknown), summary({ ...unknown, executions: 0, trades: 0 })], en)
      .split('\n')
      .slice(1),
    [
      '• <b>USDT</b> Balance ? → ?',
      '  Net +10, Realised +12.5, Fees 2.5',
      '  Trades 4 (won 2, lost 1), Executions 9, Volume 123,456',
      '  Unrealised ?',
      '• <b>USDT</b> Balance ? → ?',
      '  No trades',
      '  Unrealised ?'
    ]
  )
})

t.test('an equity is shown with what it is without; a return that is not known is a question mark', async t => {
  const partly = summary({ equity_return: null, max_drawdown: null, equity_unvalued: 2, equity_gaps: 3 })
  t.equal(
    accountText([partly], en).split('\n').at(-1),
    '  Equity 1,500.25, return ?, Drawdown ?, without a price, not included 2, periods not usable 3'
  )
})

t.test('an amount of zero has no sign, and a small amount has eight decimals', async t => {
  const small = summary({
    currency: 'BTC',
    realized_pnl: '0.000000014',
    fees: '0',
    unrealized_pnl: '0.000',
    end_balance: '-1234.5'
  })
  t.strictSame(accountText([small], en).split('\n').slice(1), [
    '• <b>BTC</b> Balance 1,000 → -1,234.5',
    '  Net +0.00000001, Realised +0.00000001, Fees 0',
    '  Trades 4 (won 2, lost 1), Win rate 66.67%, Executions 9, Volume 123,456',
    '  Unrealised 0',
    '  Equity 1,500.25, return +1.50%, Drawdown -12.35%'
  ])
})

t.test('amounts are rounded for people, and none has 24 decimals', async t => {
  const long = '12.123456789012345678901235'
  const values = { realized_pnl: long, fees: long, funding: long, interest: long, unrealized_pnl: long, volume: long }
  const lines = (currency: string) =>
    accountText([summary({ ...values, currency, start_balance: long, end_balance: `-${long}` })], en).split('\n')
  for (const [currency, shown] of [
    ['KRW', '12'],
    ['USDT', '12.12'],
    ['BTC', '12.12345679']
  ] as const) {
    t.strictSame(lines(currency).slice(1), [
      `• <b>${currency}</b> Balance ${shown} → -${shown}`,
      `  Net 0, Realised +${shown}, Fees ${shown}, Funding +${shown}, Interest ${shown}`,
      `  Trades 4 (won 2, lost 1), Win rate 66.67%, Executions 9, Volume ${shown}`,
      `  Unrealised +${shown}`,
      `  Equity ${currency === 'KRW' ? '1,500' : '1,500.25'}, return +1.50%, Drawdown -12.35%`
    ])
  }
})

t.test('a restated day shows the values that people see another one of', async t => {
  const sent: SentValues = { net: '10.001', end_balance: '100', unrealized_pnl: null, trades: 3 }
  const day = { account_id: '1', date: '2026-11-23', currency: 'USDT', sent }
  const lines = (final: Partial<SentValues>, options: typeof en | typeof ko = en) =>
    accountText([summary()], options, [{ ...day, final: { ...sent, ...final } }])
      .split('\n')
      .filter(line => line.startsWith('↻'))
  t.strictSame(lines({ net: '-2.5', trades: 4, end_balance: null }), [
    '↻ Restated 2026-11-23 <b>USDT</b> Net +10 → -2.5, Trades 3 → 4, Balance 100 → ?'
  ])
  t.strictSame(lines({ trades: 2 }, ko), ['↻ 정정 2026-11-23 <b>USDT</b> 거래 3 → 2'])
  t.strictSame(lines({ net: '10.0014' }), [], 'the same for people')
})

t.test('names are escaped for Telegram', async t => {
  const odd = summary({ account: 'a<b', exchange: 'X&Y', currency: 'U<T' })
  const lines = accountText([odd], en).split('\n')
  t.equal(lines[0], '<b>a&lt;b</b> (X&amp;Y)')
  t.equal(lines[1], '• <b>U&lt;T</b> Balance 1,000 → 1,234,567.89')
})

t.test('a value that is older than three periods of its job has the time from when it is', async t => {
  const ago = (ms: number) => new Date(AT.getTime() - ms)
  const fresh = { balances_as_of: ago(177_000), orders_as_of: ago(87_000), marks_as_of: ago(921_000) }
  t.strictSame(accountText([summary(fresh)], en).split('\n'), accountText([summary()], en).split('\n'))
  const old = { balances_as_of: ago(177_001), orders_as_of: ago(87_001), marks_as_of: ago(921_001) }
  const counted = { ...old, positions_old_mark: 2, positions_unmarked: 1 }
  t.strictSame(accountText([summary(counted), summary({ executions: 0, trades: 0 })], en).split('\n'), [
    '<b>main</b> (Binance)',
    '⚠️ orders as of 2026-11-24 20:58',
    '• <b>USDT</b> Balance 1,000 → 1,234,567.89 (as of 2026-11-24 20:57)',
    '  Net +10, Realised +12.5, Fees 2.5',
    '  Trades 4 (won 2, lost 1), Win rate 66.67%, Executions 9, Volume 123,456',
    '  Unrealised -3 (as of 2026-11-24 20:44), marks older than 15 min 2, positions without a mark 1',
    '  Equity 1,500.25, return +1.50%, Drawdown -12.35%',
    '• <b>USDT</b> Balance 1,000 → 1,234,567.89',
    '  No trades',
    '  Unrealised -3',
    '  Equity 1,500.25, return +1.50%, Drawdown -12.35%'
  ])
  t.strictSame(accountText([summary({ ...counted, unrealized_pnl: null })], ko).split('\n'), [
    '<b>main</b> (Binance)',
    '⚠️ 주문 기준 시각 2026-11-24 20:58',
    '• <b>USDT</b> 잔고 1,000 → 1,234,567.89 (기준 2026-11-24 20:57)',
    '  순손익 +10, 실현 손익 +12.5, 수수료 2.5',
    '  거래 4 (승 2, 패 1), 승률 66.67%, 체결 9, 거래대금 123,456',
    '  미실현 손익 ? (기준 2026-11-24 20:44), 15분보다 오래된 평가 2, 평가되지 않은 포지션 1',
    '  평가 자산 1,500.25, 수익률 +1.50%, 최대 낙폭 -12.35%'
  ])
  for (const [name, asOf] of Object.entries(old)) {
    t.equal(isOutdated(summary({ ...fresh, [name]: asOf }), maxAges), true, name)
  }
  t.equal(isOutdated(summary(fresh), maxAges), false)
  t.equal(isOutdated(summary(), maxAges), false, 'an unknown age is not old')
})
