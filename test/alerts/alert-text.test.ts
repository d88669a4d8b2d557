import t from 'tap'
import { noticeText, restartNotice } from '../../src/alerts/alert-text.ts'
import type { AlertDetails, Notice } from '../../src/alerts/alerts.ts'
import { readHtml } from '../support/bot-api-server.ts'

const ko = { language: 'ko', timeZone: 'Asia/Seoul' } as const
const en = { language: 'en', timeZone: 'UTC' } as const
const since = Date.parse('2026-11-22T12:03:04.000Z')

function notice(type: Notice['type'], details: AlertDetails, lastedMs = 0): Notice {
  return { type, key: 'k', dedupeKey: 'k:e', details, since, at: since + lastedMs, lastedMs }
}

const stopped: AlertDetails = {
  kind: 'scheduler_stopped',
  by: 'admin',
  reason: 'release',
  until: Date.parse('2026-11-22T12:33:04.000Z')
}

t.test('the message about a stopped scheduler has actor, reason and end', async t => {
  t.equal(
    noticeText(notice('alert', stopped), ko),
    [
      '🔴 <b>스케줄러 중지됨</b>',
      '조작자: admin',
      '사유: release',
      '재개 예정: 2026-11-22 21:33:04 (Asia/Seoul)',
      '발생 시각: 2026-11-22 21:03:04 (Asia/Seoul)'
    ].join('\n')
  )
  t.equal(
    noticeText(notice('reminder', { ...stopped, reason: null, until: null }, 3_600_000), en),
    [
      '🟠 <b>Scheduler still stopped</b>',
      'By: admin',
      'Until: until somebody starts it',
      'Since: 2026-11-22 12:03:04 (UTC)',
      'Duration: 1 h'
    ].join('\n')
  )
  t.equal(
    noticeText(notice('recovery', stopped, 93_784_000), ko),
    ['🟢 <b>스케줄러 재시작됨</b>', '발생 시각: 2026-11-22 21:03:04 (Asia/Seoul)', '지속 시간: 1일 2시간'].join('\n')
  )
})

t.test('the messages about accounts and orders have their number, the first of them, and the reasons', async t => {
  const failed: AlertDetails = {
    kind: 'accounts_failed',
    exchange: 'BINANCE',
    count: 100,
    accounts: ['main', 'second'],
    codes: ['rate_limited', 'timeout']
  }
  t.equal(
    noticeText(notice('alert', failed), en),
    [
      '🔴 <b>Accounts could not be read for ten minutes</b>',
      'Exchange: BINANCE',
      'Cause: <code>rate_limited</code>, <code>timeout</code>',
      'Accounts: 100',
      '• main',
      '• second',
      'Others: 98',
      'Since: 2026-11-22 12:03:04 (UTC)'
    ].join('\n')
  )
  t.equal(
    noticeText(notice('recovery', failed, 60_000), ko),
    [
      '🟢 <b>계정을 다시 읽을 수 있음</b>',
      '거래소: BINANCE',
      '발생 시각: 2026-11-22 21:03:04 (Asia/Seoul)',
      '지속 시간: 1분'
    ].join('\n')
  )
  const order = { account: 'main', exchange: 'OKX', symbol: 'BTCUSDT', exchangeOrderId: '42', reason: 'lost_child' }
  t.equal(
    noticeText(notice('alert', { kind: 'orders_flagged', count: 1, orders: [order] }), en),
    [
      '🔴 <b>Orders that their exchange does not know or contradicts</b>',
      'Orders: 1',
      '• OKX main BTCUSDT 42: <code>lost_child</code>',
      'Since: 2026-11-22 12:03:04 (UTC)'
    ].join('\n')
  )
  const place = { account: 'main', exchange: 'BINANCE', what: 'FUTURES USDT', difference: '-5000' }
  const causes = [{ kind: 'liquidation', at: '2026-11-22T12:03:04Z', amount: '-1' }, { kind: 'ledger_incomplete' }]
  const differences = [
    { ...place, causes },
    { ...place, what: 'BTCUSDT BOTH', difference: '-1', causes: [] }
  ]
  t.equal(
    noticeText(notice('alert', { kind: 'books_unexplained', count: 3, differences }), en),
    [
      '🔴 <b>Books differ from the exchange</b>',
      'Differences: 3',
      '• BINANCE main FUTURES USDT: -5000 (at that time: <code>liquidation</code> -1 2026-11-22 12:03:04 (UTC), <code>ledger_incomplete</code>)',
      '• BINANCE main BTCUSDT BOTH: -1 (nothing recorded at that time)',
      'Others: 1',
      'Since: 2026-11-22 12:03:04 (UTC)'
    ].join('\n')
  )
})

t.test('the name of a job is in the language of the message', async t => {
  const details: AlertDetails = {
    kind: 'job_overdue',
    jobId: 'reconcile_books',
    jobName: 'Reconcile Books',
    dueAt: since
  }
  t.strictSame(noticeText(notice('alert', details), ko).split('\n').slice(0, 2), [
    '🔴 <b>작업 지연</b>',
    '작업: 장부 대사'
  ])
  t.equal(noticeText(notice('alert', details), en).split('\n')[1], 'Job: Reconcile Books')
})

t.test('the message about a recovery has the condition, but not its cause', async t => {
  const details: AlertDetails = { kind: 'readiness', instance: 'replica-1', error: 'database_timeout' }
  t.match(noticeText(notice('alert', details), en), 'Cause: <code>database_timeout</code>')
  const recovery = noticeText(notice('recovery', details, 192_000), en)
  t.match(recovery, /Service ready again.*\nInstance: replica-1\n(.*\n)*Duration: 3 min 12 s$/)
  t.notMatch(recovery, 'database_timeout')
})

t.test('every kind and type is a message that Telegram accepts, in both languages, with any names', async t => {
  const name = `<b>&"\n🔴 <b>forged\u202E\uD800${'ש'.repeat(5_000)}`
  const order = { account: name, exchange: name, symbol: name, exchangeOrderId: name, reason: 'side_differs' }
  const cause = { kind: name, at: '2026-11-22T12:03:04Z', amount: name }
  const difference = { account: name, exchange: name, what: name, difference: name, causes: Array(9).fill(cause) }
  const jobs = { jobId: 'x', jobName: name, runId: name, instance: name, errorCode: name, dueAt: since }
  const all: AlertDetails[] = [
    { kind: 'readiness', instance: name, error: name },
    { kind: 'job_failed', ...jobs },
    { kind: 'job_partial', ...jobs, undone: { failed: 3, [name]: 99_999 } },
    { kind: 'job_overdue', ...jobs },
    { kind: 'job_abandoned', ...jobs },
    { kind: 'scheduler_stopped', by: name, reason: name, until: since },
    { kind: 'no_runner' },
    { kind: 'credentials_refused', exchange: name, account: name },
    {
      kind: 'accounts_failed',
      exchange: name,
      count: 1_000,
      accounts: Array(5).fill(name),
      codes: ['timeout', 'clock']
    },
    { kind: 'orders_flagged', count: 1_000, orders: Array(5).fill(order) },
    { kind: 'books_unexplained', count: 1_000, differences: Array(5).fill(difference) },
    { kind: 'replica_silent', instance: name, lastSeenAt: 0 }
  ]
  const texts = new Set<string>()
  for (const details of all) {
    for (const type of ['alert', 'reminder', 'recovery'] as const) {
      for (const options of [ko, en]) {
        const message = readHtml(noticeText(notice(type, details), options))
        if ('error' in message) throw new Error(message.error)
        const { length } = message.text
        t.ok(length < 2_500, `${length} characters`)
        t.notMatch(message.text, /\n🔴/, 'a name cannot add a line')
        t.notMatch(message.text, /[\u202E\p{Surrogate}]/u, 'the text has no direction override and is well-formed')
        texts.add(message.text.split('\n')[0] ?? '')
      }
    }
  }
  t.ok(texts.size > 30, `titles distinguish the kinds: ${texts.size}`)
})

t.test('the message about an unclean restart has its duration and the missed runs', async t => {
  const restart = { instance: 'replica-1', startedAt: since + 125_000, lastSeenAt: since }
  const missed = [
    { jobId: 'sync_account_balances', jobName: 'Sync Account Balances', count: 2 },
    { jobId: 'new_job', jobName: 'New Job', count: 1 }
  ]
  t.strictSame(restartNotice({ ...restart, missed }, ko), {
    dedupeKey: `restart:replica-1:${since + 125_000}`,
    text: [
      '🟠 <b>비정상 종료 후 재시작됨</b>',
      '인스턴스: replica-1',
      '마지막 응답: 2026-11-22 21:03:04 (Asia/Seoul)',
      '지속 시간: 2분 5초',
      '놓친 실행:',
      '• 계정 잔고 동기화 × 2',
      '• New Job × 1'
    ].join('\n')
  })
  t.match(restartNotice({ ...restart, missed: [] }, en).text, /Missed runs: none$/)
  const many = Array.from({ length: 500 }, (_, index) => {
    return { jobId: 'x', jobName: `<${'x'.repeat(100)}${index}>`, count: 1 }
  })
  const message = readHtml(restartNotice({ ...restart, startedAt: since, missed: many }, en).text)
  if ('error' in message) throw new Error(message.error)
  const { length } = message.text
  t.ok(length < 4_096, `${length} characters`)
  t.match(message.text, /Duration: 0 s\n[\s\S]*Further jobs: 480$/)
})
