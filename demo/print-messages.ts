// Prints messages of every kind in both languages, to be read before their texts are changed. The texts are those of the
// service; the values are invented.

import { conditionLine, noticeText, restartNotice } from '../src/alerts/alert-text.ts'
import type { AlertDetails, AlertKind, Notice } from '../src/alerts/alerts.ts'
import { quietMessage } from '../src/alerts/quiet-summary.ts'
import { HOUR, MINUTE } from '../src/async/durations.ts'
import { SUMMARY_MAX_AGES } from '../src/jobs/index.ts'
import type { Language } from '../src/messages.ts'
import { accountText, netOf } from '../src/trading/account-text.ts'
import type { AccountSummary } from '../src/trading/daily-summaries.ts'
import type { RestatedDay } from '../src/trading/sent-summaries.ts'
import { summaryText } from '../src/trading/summary-text.ts'

const timeZone = 'Asia/Seoul'
const DAY = '2026-11-25'
const AT = new Date('2026-11-25T12:03:00Z')
const RUN_ID = '0193660a-7a00-7000-8000-000000000001'

const usual: AccountSummary = {
  ...{ account_id: '1', account: 'main', exchange: 'BINANCE', is_testnet: false, credentials_refused: false },
  ...{ chat_id: null, currency: 'USDT', start_balance: '10250.4', end_balance: '10371.87', realized_pnl: '130.25' },
  ...{ unrealized_pnl: '-3.4', fees: '8.75', fees_unknown: 0, funding: '0.52', interest: '0.1', executions: 9 },
  ...{ trades: 4, wins: 3, losses: 1, win_rate: '0.75', volume: '48120.5', max_drawdown: '-0.0123' },
  ...{ week: ['12.5', '-40.2', '80', null, '31.7', '-8.08', '121.92'], equity: '10368.47', equity_return: '0.0119' },
  ...{ equity_gaps: 0, equity_unvalued: 0, is_final: false, at: AT, balances_as_of: null, orders_as_of: null },
  ...{ marks_as_of: null, positions_unmarked: 0, positions_old_mark: 0 }
}

const unknown: AccountSummary = {
  ...{ ...usual, credentials_refused: true, start_balance: null, end_balance: null, unrealized_pnl: null },
  ...{ fees_unknown: 2, equity: '9800', equity_return: null, max_drawdown: null, equity_gaps: 1, equity_unvalued: 2 },
  ...{ orders_as_of: new Date('2026-11-25T10:10:00Z'), balances_as_of: new Date('2026-11-25T10:12:00Z') },
  ...{ marks_as_of: new Date('2026-11-25T09:00:00Z'), positions_unmarked: 1, positions_old_mark: 2 }
}

const idle = {
  executions: 0,
  trades: 0,
  wins: 0,
  losses: 0,
  win_rate: null,
  realized_pnl: '0',
  fees: '0',
  funding: '0'
}
const won: Partial<AccountSummary> = {
  ...{ exchange: 'UPBIT', currency: 'KRW', start_balance: '12500000', end_balance: '12431200', unrealized_pnl: '0' },
  ...{ realized_pnl: '-65200', fees: '3600', funding: '0', interest: '0', volume: '8120000', equity: null },
  ...{ week: ['0', '15200', null, null, '-9000', '41000', '-68800'] }
}

/** With its own result as the last of the week. */
const ended = (summary: AccountSummary): AccountSummary => {
  return { ...summary, week: [...summary.week.slice(0, -1), netOf(summary)] }
}

const NAMES = [
  'main',
  'hedge',
  'grid-1',
  'grid-2',
  'swing',
  'scalp',
  'arb',
  '장기 투자',
  '단타',
  'R&D <test>',
  'sub',
  'old'
]
const twelve: readonly AccountSummary[] = NAMES.map((account, i) =>
  ended({
    ...usual,
    account_id: String(i + 1),
    account,
    realized_pnl: String(i * 37.5 - 100),
    ...(i === 7 || i === 8 ? won : {}),
    ...(i === 9 ? { is_testnet: true } : {}),
    ...(i === 10 ? { ...unknown, account_id: '11', account } : {}),
    ...(i === 11 ? { ...idle, interest: '0', week: [null, null, null, null, null, null, '0'] } : {})
  })
)

const sent = { net: '80', end_balance: '10400', unrealized_pnl: '5', trades: 3 }
const restated: readonly RestatedDay[] = [
  { account_id: '1', date: '2026-11-21', currency: 'USDT', sent, final: { ...sent, net: '77.25', trades: 4 } },
  { account_id: '1', date: '2026-11-24', currency: 'USDT', sent, final: { ...sent, end_balance: null } }
]

/** The messages about a day, by their titles. */
export function summarySamples(language: Language): Record<string, string> {
  const text = (accounts: readonly AccountSummary[], days: readonly RestatedDay[] = []) =>
    summaryText(
      accounts.map(summary => {
        const own = days.filter(({ account_id }) => account_id === summary.account_id)
        return {
          summaries: [summary],
          text: accountText([summary], { language, timeZone, maxAges: SUMMARY_MAX_AGES }, own)
        }
      }),
      { day: DAY, at: AT, language, timeZone }
    )
  return {
    'daily summary, one account': text([usual]),
    'daily summary, twelve accounts': text(twelve),
    'daily summary, restated days': text([usual], restated),
    'daily summary, unknown values': text([unknown])
  }
}

const job = { jobId: 'sync_account_balances', jobName: 'Sync Account Balances', runId: RUN_ID }
const order = { account: 'main', exchange: 'OKX', symbol: 'BTCUSDT', exchangeOrderId: '42', reason: 'side_differs' }
const difference = { account: 'main', exchange: 'BINANCE', what: 'FUTURES USDT', difference: '-12.5' }
const causes = [{ kind: 'liquidation', at: '2026-11-25T11:58:00Z', amount: '-12.5' }]

const alerts: Record<AlertKind, AlertDetails> = {
  readiness: { kind: 'readiness', instance: 'trading-0', error: 'database_timeout' },
  job_failed: { kind: 'job_failed', ...job, errorCode: 'JOB_FAILED' },
  job_partial: { kind: 'job_partial', ...job, undone: { failed: 2, refused: 1 } },
  job_overdue: { kind: 'job_overdue', ...job, dueAt: AT.getTime() - 5 * MINUTE },
  job_abandoned: { kind: 'job_abandoned', ...job, instance: 'trading-1' },
  scheduler_stopped: { kind: 'scheduler_stopped', by: 'ops', reason: 'release', until: AT.getTime() + HOUR },
  no_runner: { kind: 'no_runner' },
  credentials_refused: { kind: 'credentials_refused', exchange: 'BYBIT', account: 'main' },
  accounts_failed: {
    kind: 'accounts_failed',
    exchange: 'OKX',
    count: 7,
    accounts: ['main', 'hedge'],
    codes: ['timeout']
  },
  orders_flagged: { kind: 'orders_flagged', count: 1, orders: [order] },
  books_unexplained: { kind: 'books_unexplained', count: 1, differences: [{ ...difference, causes }] },
  replica_silent: { kind: 'replica_silent', instance: 'trading-1', lastSeenAt: AT.getTime() - 2 * MINUTE }
}

/** Alert, reminder and recovery of every kind, an unclean shutdown, and the end of a quiet window, by their titles. */
export function alertSamples(language: Language): Record<string, string> {
  const options = { language, timeZone }
  const times = { since: AT.getTime(), at: AT.getTime(), lastedMs: 75 * MINUTE }
  const notices = Object.values(alerts).flatMap(details =>
    (['alert', 'reminder', 'recovery'] as const).map((type): [string, string] => {
      const notice: Notice = { type, key: details.kind, dedupeKey: details.kind, details, ...times }
      return [`${details.kind}, ${type}`, noticeText(notice, options)]
    })
  )
  const ends = { instance: 'trading-0', startedAt: AT.getTime(), lastSeenAt: AT.getTime() - 11 * MINUTE }
  const restart = restartNotice({ ...ends, missed: [{ ...job, count: 11 }] }, options).text
  return { ...Object.fromEntries(notices), 'unclean shutdown': restart, 'quiet window': quietSample(options) }
}

function quietSample(options: { language: Language; timeZone: string }): string {
  const { books_unexplained: books, job_failed: failed } = alerts
  const listed = (details: AlertDetails) => ({ condition: details.kind, line: conditionLine(details, options) })
  const report = {
    ...{ by: 'ops', reason: 'release', since: AT, until: new Date(AT.getTime() + HOUR) },
    notices: [books, failed, failed].map(details => ({
      type: 'alert.raised' as const,
      kind: details.kind,
      ...listed(details)
    })),
    open: [listed(books)],
    recovered: [listed(failed)]
  }
  return quietMessage(report, { chatId: undefined, text: options }).text
}

if (process.argv[1] === import.meta.filename) {
  for (const language of ['ko', 'en'] as const) {
    for (const [title, text] of Object.entries({ ...summarySamples(language), ...alertSamples(language) })) {
      process.stdout.write(`=== ${title} (${language})\n${text}\n\n`)
    }
  }
}
