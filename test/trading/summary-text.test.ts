import t from 'tap'
import { summarySamples } from '../../demo/print-messages.ts'
import { splitMessage } from '../../src/notifications/split-message.ts'
import { accountText } from '../../src/trading/account-text.ts'
import type { AccountSummary } from '../../src/trading/daily-summaries.ts'
import type { SentValues } from '../../src/trading/sent-summaries.ts'
import { isOutdated } from '../../src/trading/summary-ages.ts'
import { summaryText } from '../../src/trading/summary-text.ts'
import { readHtml } from '../support/bot-api-server.ts'

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
  week: ['5', '-2.5', null, '0', '1', '20', '10'],
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

const details = (summaries: [AccountSummary, ...AccountSummary[]], options: typeof en | typeof ko = en) =>
  accountText(summaries, options).details.split('\n')
const idle = { realized_pnl: '0', fees: '0', executions: 0, trades: 0, week: [null, null, null, null, null, null, '0'] }

t.test('one account has all of its values in the message, the net result first', async t => {
  const at = new Date('2026-11-24T15:30:00Z')
  const text = (language: 'en' | 'ko') => {
    const account = { summaries: [summary()], text: accountText([summary()], { ...en, language }) }
    return summaryText([account], { day: '2026-11-25', at, timeZone: 'Asia/Seoul', language }).split('\n')
  }
  t.strictSame(text('en'), [
    '📊 <b>Daily summary 2026-11-25</b>',
    'As of 00:30 (Asia/Seoul)',
    '',
    '<b>main</b> (Binance)',
    '<b>Net +10 USDT</b>',
    '▃▁·▂▂█▅ 7 days +33.5',
    'Realised +12.5, fees 2.5',
    'Trades 4: 2 won, 1 lost (66.67%)',
    'Executions 9, volume 123,456',
    'Unrealised -3',
    'Balance 1,000 → 1,234,567.89',
    'Equity 1,500.25 (+1.50%)',
    'Drawdown -12.34%',
    '',
    '<i>Net: after fees, funding, interest</i>'
  ])
  t.strictSame(text('ko'), [
    '📊 <b>일일 요약 2026-11-25</b>',
    '기준 시각 00:30 (Asia/Seoul)',
    '',
    '<b>main</b> (Binance)',
    '<b>순손익 +10 USDT</b>',
    '▃▁·▂▂█▅ 7일 +33.5',
    '실현 +12.5, 수수료 2.5',
    '거래 4: 2승 1패 (66.67%)',
    '체결 9, 거래대금 123,456',
    '미실현 손익 -3',
    '잔고 1,000 → 1,234,567.89',
    '평가 자산 1,500.25 (+1.50%)',
    '최대 낙폭 -12.34%',
    '',
    '<i>순손익: 수수료·펀딩·이자 반영</i>'
  ])
})

t.test(
  'several accounts have totals per currency, a line for each account, and their values in a collapsed block',
  async t => {
    const second = { account_id: '2', account: 'second', exchange: 'UPBIT', credentials_refused: true }
    const day = { account_id: '2', date: '2026-11-23', currency: 'USDT' }
    const values = { end_balance: null, unrealized_pnl: null, trades: 3 }
    const restated = { ...day, sent: { ...values, net: '1' }, final: { ...values, net: '2' } }
    const accounts = [
      [
        summary(),
        summary({ currency: 'BTC', realized_pnl: '-1', fees: '0', week: ['1', null, null, null, null, null, '-1'] })
      ],
      [summary({ ...second, week: ['-10', '2.5', '4', null, '1', '20', '10'] })],
      [summary({ ...idle, account_id: '3', account: 'test', is_testnet: true })]
    ].map(summaries => {
      const [first = summary(), ...rest] = summaries
      return { summaries, text: accountText([first, ...rest], en, first.account_id === '2' ? [restated] : []) }
    })
    const text = summaryText(accounts, { day: '2026-11-24', at: AT, timeZone: 'Asia/Seoul', language: 'en' })
    const [title, totals, lines, block, ...others] = text.split(/\n\n(?=<b>|\+|<blockquote)/)
    t.equal(title, '📊 <b>Daily summary 2026-11-24</b>\nAs of 21:00 (Asia/Seoul)')
    t.strictSame(totals?.split('\n'), [
      '<b>Net +20 USDT</b> ▁▂▂▂▂█▅',
      '<b>Net -1 BTC</b> █·····▁',
      '<b>Net 0 USDT</b> ······▁ [testnet]'
    ])
    t.strictSame(lines?.split('\n'), [
      '+10 USDT, -1 BTC · <b>main</b> (Binance)',
      '+10 USDT · <b>second</b> (Upbit) ⚠️ ↻',
      '0 USDT · <b>test</b> (Binance) 🧪'
    ])
    t.match(block, /^<blockquote expandable><b>main<\/b> \(Binance\)\n/)
    t.match(
      [block, ...others].join('\n\n'),
      /\n↻ Restated 2026-11-23 USDT\nNet \+1 → \+2\n[\s\S]*interest<\/i><\/blockquote>$/
    )
  }
)

t.test('the beginning of every message fits on the screen of a phone', async t => {
  // Telegram shows about twenty lines of 38 columns. A wide character has two columns. A collapsed block has three lines.
  const wide = /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uFF00-\uFF60]|\p{Emoji_Presentation}/gu
  const columns = (line: string) => line.length + (line.match(wide)?.filter(found => found.length === 1).length ?? 0)
  const shown = (html: string) => {
    const message = readHtml(html.replace(/<blockquote expandable>(.*\n.*\n.*)[\s\S]*?<\/blockquote>/, '$1'))
    if ('error' in message) throw new Error(message.error)
    return message.text.split('\n')
  }
  for (const language of ['ko', 'en'] as const) {
    for (const [title, html] of Object.entries(summarySamples(language))) {
      const lines = shown(html)
      // Twelve lines of accounts; ten warnings that one account seldom has together.
      const most = title.includes('twelve') ? 24 : title.includes('unknown') ? 26 : 20
      t.ok(lines.length <= most, `${title}: at most ${most} lines: ${lines.length}`)
      t.strictSame(
        lines.filter(line => columns(line) > 38),
        [],
        `${title}, ${language}`
      )
    }
  }
})

t.test('many accounts are split into messages that Telegram accepts, totals first', async t => {
  const accounts = Array.from({ length: 400 }, (_, i) => {
    const own = summary({ account_id: String(i), account: `account ${i}` })
    return { summaries: [own], text: accountText([own], en) }
  })
  const parts = splitMessage(summaryText(accounts, { day: '2026-11-24', at: AT, timeZone: 'UTC', language: 'en' }))
  t.match(parts[0], /Net \+4,000 USDT/)
  const texts = parts.map(part => {
    const message = readHtml(part)
    if ('error' in message) throw new Error(message.error)
    t.ok(message.text.length <= 4_096 && message.entities <= 100, `${message.text.length}, ${message.entities}`)
    return message.text
  })
  t.equal(texts.join('\n').match(/· account \d+ \(Binance\)/g)?.length, 400)
  t.equal(texts.join('\n').match(/^Drawdown/gm)?.length, 400)
})

t.test('refused keys, a testnet and fees of unknown value are shown', async t => {
  const refused = { is_testnet: true, credentials_refused: true, exchange: 'NEW', fees: '1250.50', fees_unknown: 1 }
  t.strictSame(details([summary(refused)]).slice(0, 6), [
    '<b>main</b> (NEW) [testnet]',
    '⚠️ Keys rejected: values may be old',
    '<b>Net -1,238 USDT</b>',
    '▃▁·▂▂█▅ 7 days +33.5',
    'Realised +12.5, fees 1,250.5',
    '⚠️ Fees of unknown value: 1'
  ])
  t.strictSame(details([summary(refused)], ko).slice(0, 2), [
    '<b>main</b> (NEW) [테스트넷]',
    '⚠️ 인증 거부: 값이 오래되었을 수 있음'
  ])
  t.match(accountText([summary(refused)], en).line, /⚠️$/)
})

t.test('funding and interest are part of the net result, and shown where there are some', async t => {
  t.strictSame(details([summary({ funding: '-1.5', interest: '0.25' })]).slice(1, 5), [
    '<b>Net +8.25 USDT</b>',
    '▃▁·▂▂█▅ 7 days +33.5',
    'Realised +12.5, fees 2.5',
    'Funding -1.5, interest 0.25'
  ])
  const funded = summary({ ...idle, funding: '3', equity: null, unrealized_pnl: '0' })
  t.strictSame(details([funded]).slice(1), [
    '<b>Net +3 USDT</b>, no trades',
    'Realised 0, fees 0',
    'Funding +3, interest 0',
    'Balance 1,000 → 1,234,567.89'
  ])
  t.equal(accountText([summary(idle), funded], en).line, '+3 USDT · <b>main</b> (Binance)')
})

t.test('an unknown value is a question mark, and a ratio that is not defined is left out', async t => {
  const unknown = { start_balance: null, end_balance: null, unrealized_pnl: null, win_rate: null }
  t.strictSame(details([summary({ ...unknown, equity: null })]).slice(4), [
    'Trades 4: 2 won, 1 lost',
    'Executions 9, volume 123,456',
    'Unrealised ?',
    'Balance ? → ?'
  ])
  const partly = { equity_return: null, max_drawdown: null, equity_unvalued: 2, equity_gaps: 3 }
  t.strictSame(details([summary(partly)]).slice(-4), [
    'Equity 1,500.25 (?)',
    'Drawdown ?',
    '⚠️ Without a price, not included: 2',
    '⚠️ Periods not usable: 3'
  ])
})

t.test('amounts are rounded for people, an amount of zero has no sign', async t => {
  const long = '12.123456789012345678901235'
  const values = { realized_pnl: long, fees: long, funding: long, interest: long, unrealized_pnl: long, volume: long }
  for (const [currency, shown] of [
    ['KRW', '12'],
    ['USDT', '12.12'],
    ['BTC', '12.12345679']
  ] as const) {
    const rounded = summary({
      ...values,
      currency,
      start_balance: long,
      end_balance: `-${long}`,
      equity: null,
      week: []
    })
    t.strictSame(details([rounded]).slice(1), [
      `<b>Net 0 ${currency}</b>`,
      `Realised +${shown}, fees ${shown}`,
      `Funding +${shown}, interest ${shown}`,
      'Trades 4: 2 won, 1 lost (66.67%)',
      `Executions 9, volume ${shown}`,
      `Unrealised +${shown}`,
      `Balance ${shown} → -${shown}`
    ])
  }
})

t.test('a restated day shows the values that people see another one of, one in a line', async t => {
  const sent: SentValues = { net: '10.001', end_balance: '100', unrealized_pnl: null, trades: 3 }
  const day = { account_id: '1', date: '2026-11-23', currency: 'USDT', sent }
  const lines = (final: Partial<SentValues>, options: typeof en | typeof ko = en) =>
    accountText([summary()], options, [{ ...day, final: { ...sent, ...final } }]).restated.split('\n')
  t.strictSame(lines({ net: '-2.5', trades: 4, end_balance: null }), [
    '↻ Restated 2026-11-23 USDT',
    'Net +10 → -2.5',
    'Trades 3 → 4',
    'Balance 100 → ?'
  ])
  t.strictSame(lines({ trades: 2 }, ko), ['↻ 정정 2026-11-23 USDT', '거래 3 → 2'])
  t.strictSame(lines({ net: '10.0014' }), [''], 'the same for people')
})

t.test('names are escaped for Telegram and complete', async t => {
  const name = `${'a<b'.repeat(21)}z`
  const odd = accountText([summary({ account: name, exchange: 'X&Y', currency: 'U<T' })], en)
  const shown = `<b>${name.replaceAll('<', '&lt;')}</b> (X&amp;Y)`
  t.strictSame(odd.details.split('\n').slice(0, 2), [shown, '<b>Net +10 U&lt;T</b>'])
  t.equal(odd.line, `+10 U&lt;T · ${shown}`)
  const emoji = '🟢'.repeat(64)
  t.equal(details([summary({ account: emoji })])[0], `<b>${emoji}</b> (Binance)`)
  t.match(details([summary({ account: 'x'.repeat(300) })])[0], /x…<\/b>/, 'a name that is cut ends in an ellipsis')
})

t.test('a value that is older than three periods of its job has the time from when it is', async t => {
  const ago = (ms: number) => new Date(AT.getTime() - ms)
  const fresh = { balances_as_of: ago(177_000), orders_as_of: ago(87_000), marks_as_of: ago(921_000) }
  t.strictSame(details([summary(fresh)]), details([summary()]))
  const old = { balances_as_of: ago(177_001), orders_as_of: ago(87_001), marks_as_of: ago(921_001) }
  const counted = { ...old, positions_old_mark: 2, positions_unmarked: 1 }
  const marked = (options: typeof en | typeof ko) =>
    details([summary(counted)], options).filter(line => line.startsWith('⚠️'))
  t.strictSame(marked(en), [
    '⚠️ Orders as of 2026-11-24 20:58',
    '⚠️ Marks as of 2026-11-24 20:44',
    '⚠️ Marks older than 15 min: 2',
    '⚠️ Positions without a mark: 1',
    '⚠️ Balance as of 2026-11-24 20:57'
  ])
  t.strictSame(marked(ko), [
    '⚠️ 주문 기준 시각 2026-11-24 20:58',
    '⚠️ 평가 기준 시각 2026-11-24 20:44',
    '⚠️ 15분보다 오래된 평가: 2',
    '⚠️ 평가되지 않은 포지션: 1',
    '⚠️ 잔고 기준 시각 2026-11-24 20:57'
  ])
  for (const [name, asOf] of Object.entries(old)) {
    t.equal(isOutdated(summary({ ...fresh, [name]: asOf }), maxAges), true, name)
  }
  t.equal(isOutdated(summary(fresh), maxAges), false)
  t.equal(isOutdated(summary(), maxAges), false, 'an unknown age is not old')
})
