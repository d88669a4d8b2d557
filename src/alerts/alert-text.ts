// @FEAT:health-monitoring @COMP:service @TYPE:helper

import { DAY, HOUR, MINUTE, SECOND } from '../async/durations.ts'
import { roundedDifference } from '../domain/rounded-amount.ts'
import { jobNameIn, type Language } from '../messages.ts'
import { quoteText } from '../notifications/html.ts'
import type { Undone } from '../scheduler/job.ts'
import type { UnexplainedDifference } from '../trading/book-state.ts'
import type { FlaggedOrder } from '../trading/flagged-orders.ts'
import type { AlertDetails, AlertKind, Notice } from './alerts.ts'

const MAX_MISSED_LINES = 20
/** The longest part of the line about an order. */
const MAX_NAME = 32
/** Entries and executions that the line about a difference has. */
const MAX_CAUSES = 3

type Sentence = Record<Language, string>

/** The language and the time zone of messages. */
export interface TextOptions {
  language: Language
  /** IANA name; times are shown in it. */
  timeZone: string
}

const titles: Record<AlertKind, Record<Notice['type'], Sentence>> = {
  readiness: {
    alert: { ko: '서비스 준비되지 않음', en: 'Service not ready' },
    reminder: { ko: '서비스가 아직 준비되지 않음', en: 'Service still not ready' },
    recovery: { ko: '서비스 준비 상태 회복', en: 'Service ready again' }
  },
  job_failed: {
    alert: { ko: '작업 실패', en: 'Job failed' },
    reminder: { ko: '작업이 계속 실패함', en: 'Job still failing' },
    recovery: { ko: '작업 실패 해소', en: 'Job no longer fails' }
  },
  job_partial: {
    alert: { ko: '작업이 계속 일부만 완료됨', en: 'Job leaves work undone' },
    reminder: { ko: '작업이 아직 일부만 완료됨', en: 'Job still leaves work undone' },
    recovery: { ko: '작업이 다시 모두 완료됨', en: 'Job does all of its work again' }
  },
  job_overdue: {
    alert: { ko: '작업 지연', en: 'Job overdue' },
    reminder: { ko: '작업이 계속 지연됨', en: 'Job still overdue' },
    recovery: { ko: '작업 지연 해소', en: 'Job on time again' }
  },
  job_abandoned: {
    alert: { ko: '작업이 비정상 중단됨', en: 'Job run abandoned' },
    reminder: {
      ko: '비정상 중단된 작업이 아직 완료되지 못함',
      en: 'No run of the job has ended since its abandoned run'
    },
    recovery: { ko: '비정상 중단되었던 작업 정상화', en: 'Runs of the job end again' }
  },
  scheduler_stopped: {
    alert: { ko: '스케줄러 중지됨', en: 'Scheduler stopped' },
    reminder: { ko: '스케줄러가 아직 중지 상태', en: 'Scheduler still stopped' },
    recovery: { ko: '스케줄러 재시작됨', en: 'Scheduler runs again' }
  },
  no_runner: {
    alert: { ko: '작업을 실행할 인스턴스 없음', en: 'No replica runs the jobs' },
    reminder: { ko: '작업을 실행할 인스턴스가 아직 없음', en: 'Still no replica runs the jobs' },
    recovery: { ko: '작업을 실행할 인스턴스 있음', en: 'A replica runs the jobs again' }
  },
  credentials_refused: {
    alert: { ko: '거래소 인증 거부됨', en: 'Exchange rejects the credentials' },
    reminder: { ko: '거래소 인증이 계속 거부됨', en: 'Exchange still rejects the credentials' },
    recovery: { ko: '거래소 인증 회복', en: 'Exchange accepts the credentials again' }
  },
  accounts_failed: {
    alert: { ko: '계정을 10분 동안 읽을 수 없음', en: 'Accounts could not be read for ten minutes' },
    reminder: { ko: '계정을 아직 읽을 수 없음', en: 'Accounts still cannot be read' },
    recovery: { ko: '계정을 다시 읽을 수 있음', en: 'All accounts can be read again' }
  },
  orders_flagged: {
    alert: { ko: '거래소와 일치하지 않는 주문', en: 'Orders that their exchange does not know or contradicts' },
    reminder: {
      ko: '거래소와 아직 일치하지 않는 주문',
      en: 'Orders that their exchange still does not know or contradicts'
    },
    recovery: { ko: '모든 주문이 거래소와 일치함', en: 'No order is unknown or contradicted any more' }
  },
  books_unexplained: {
    alert: { ko: '장부와 거래소가 일치하지 않음', en: 'Books differ from the exchange' },
    reminder: { ko: '장부와 거래소가 아직 일치하지 않음', en: 'Books still differ from the exchange' },
    recovery: { ko: '장부와 거래소가 다시 일치함', en: 'Books agree with the exchanges again' }
  },
  replica_silent: {
    alert: { ko: '인스턴스 응답 없음', en: 'Replica sends no heartbeat' },
    reminder: { ko: '인스턴스가 아직 응답 없음', en: 'Replica still sends no heartbeat' },
    recovery: { ko: '인스턴스 응답 재개', en: 'Replica sends heartbeats again, or was replaced' }
  }
}

const labels = {
  instance: { ko: '인스턴스', en: 'Instance' },
  cause: { ko: '원인', en: 'Cause' },
  job: { ko: '작업', en: 'Job' },
  run: { ko: '실행 ID', en: 'Run' },
  undone: { ko: '처리되지 않음', en: 'Undone' },
  due: { ko: '예정 시각', en: 'Due' },
  by: { ko: '조작자', en: 'By' },
  reason: { ko: '사유', en: 'Reason' },
  until: { ko: '재개 예정', en: 'Until' },
  untilStarted: { ko: '직접 시작할 때까지', en: 'until somebody starts it' },
  exchange: { ko: '거래소', en: 'Exchange' },
  account: { ko: '계정', en: 'Account' },
  accounts: { ko: '계정 수', en: 'Accounts' },
  orders: { ko: '주문 수', en: 'Orders' },
  others: { ko: '그 외', en: 'Others' },
  differences: { ko: '차이 수', en: 'Differences' },
  near: { ko: '그 무렵', en: 'at that time' },
  nothingNear: { ko: '그 무렵 기록 없음', en: 'nothing recorded at that time' },
  since: { ko: '발생 시각', en: 'Since' },
  lasted: { ko: '지속 시간', en: 'Duration' },
  restarted: { ko: '비정상 종료 후 재시작됨', en: 'Restarted after an unclean shutdown' },
  lastSeen: { ko: '마지막 응답', en: 'Last seen' },
  missed: { ko: '놓친 실행', en: 'Missed runs' },
  nothingMissed: { ko: '없음', en: 'none' },
  more: { ko: '그 외 작업', en: 'Further jobs' }
} satisfies Record<string, Sentence>

const marks: Record<Notice['type'], string> = { alert: '🔴', reminder: '🟠', recovery: '🟢' }

/** The text of a notice in Telegram's HTML; it fits into one message. */
export function noticeText({ type, details, since, lastedMs }: Notice, options: TextOptions): string {
  const { language } = options
  const lines = [`${marks[type]} <b>${titles[details.kind][type][language]}</b>`, ...facts(details, type, options)]
  lines.push(line('since', formatTime(since, options), language))
  if (type !== 'alert') lines.push(line('lasted', formatDuration(lastedMs, language), language))
  return lines.join('\n')
}

/** A condition as one line: its title, and in brackets what names it. */
export function conditionLine(details: AlertDetails, options: TextOptions): string {
  const names = facts(details, 'recovery', options)
  const title = titles[details.kind].alert[options.language]
  return names.length === 0 ? title : `${title} (${names.join(', ')})`
}

/** The title of alerts of a kind; undefined for a kind that this version does not know. */
export function kindTitle(kind: string, language: Language): string | undefined {
  return Object.entries(titles).find(([known]) => known === kind)?.[1].alert[language]
}

/** A start after the process stopped without a shutdown. Times in milliseconds since the epoch. */
export interface UncleanRestart {
  instance: string
  startedAt: number
  /** The last heartbeat before the stop. */
  lastSeenAt: number
  /** Scheduled runs that were missed in between. */
  missed: readonly { jobId: string; jobName: string; count: number }[]
}

/** The message about an unclean restart in Telegram's HTML, and the key that prevents a second one. */
export function restartNotice(restart: UncleanRestart, options: TextOptions): { dedupeKey: string; text: string } {
  const { instance, startedAt, lastSeenAt, missed } = restart
  const { language } = options
  const rest = missed.length - MAX_MISSED_LINES
  const lines = [
    `🟠 <b>${labels.restarted[language]}</b>`,
    line('instance', quoteText(instance), language),
    line('lastSeen', formatTime(lastSeenAt, options), language),
    line('lasted', formatDuration(startedAt - lastSeenAt, language), language),
    line('missed', missed.length === 0 ? labels.nothingMissed[language] : '', language),
    ...missed.slice(0, MAX_MISSED_LINES).map(job => `• ${quoteText(jobNameIn(job, language))} × ${job.count}`),
    ...(rest > 0 ? [line('more', String(rest), language)] : [])
  ]
  return { dedupeKey: `restart:${instance}:${startedAt}`, text: lines.join('\n') }
}

/** The lines about a condition. A recovery has only those that name it: cause and plan no longer apply. */
function facts(details: AlertDetails, type: Notice['type'], options: TextOptions): string[] {
  const { language } = options
  const isOver = type === 'recovery'
  const fact = (label: keyof typeof labels, html: string) => line(label, html, language)
  const unlessOver = (...lines: string[]) => (isOver ? [] : lines)
  switch (details.kind) {
    case 'readiness':
      return [fact('instance', quoteText(details.instance)), ...unlessOver(fact('cause', code(details.error)))]
    case 'job_failed':
      return [
        fact('job', quoteText(jobNameIn(details, language))),
        ...unlessOver(fact('cause', code(details.errorCode)), fact('run', code(details.runId)))
      ]
    case 'job_partial':
      return [
        fact('job', quoteText(jobNameIn(details, language))),
        ...unlessOver(fact('undone', countsOf(details.undone)), fact('run', code(details.runId)))
      ]
    case 'job_overdue':
      return [
        fact('job', quoteText(jobNameIn(details, language))),
        ...unlessOver(fact('due', formatTime(details.dueAt, options)))
      ]
    case 'job_abandoned':
      return [
        fact('job', quoteText(jobNameIn(details, language))),
        ...unlessOver(fact('instance', quoteText(details.instance)), fact('run', code(details.runId)))
      ]
    case 'scheduler_stopped':
      return unlessOver(
        fact('by', quoteText(details.by)),
        ...(details.reason === null ? [] : [fact('reason', quoteText(details.reason, 500))]),
        fact('until', details.until === null ? labels.untilStarted[language] : formatTime(details.until, options))
      )
    case 'no_runner':
      return []
    case 'credentials_refused':
      return [fact('exchange', quoteText(details.exchange)), fact('account', quoteText(details.account))]
    case 'accounts_failed':
      return [fact('exchange', quoteText(details.exchange)), ...unlessOver(...membersOf(details, options))]
    case 'orders_flagged':
    case 'books_unexplained':
      return unlessOver(...membersOf(details, options))
    case 'replica_silent':
      return [
        fact('instance', quoteText(details.instance)),
        ...unlessOver(fact('lastSeen', formatTime(details.lastSeenAt, options)))
      ]
  }
}

/** The number of what a condition has several of, and the first of them. */
function membersOf(
  details: Extract<AlertDetails, { kind: 'accounts_failed' | 'orders_flagged' | 'books_unexplained' }>,
  options: TextOptions
): string[] {
  const { language } = options
  const list = (label: keyof typeof labels, members: readonly string[]) => [
    line(label, String(details.count), language),
    ...listOf(members, details.count, language)
  ]
  switch (details.kind) {
    case 'accounts_failed': {
      const names = details.accounts.map(account => quoteText(account))
      return [line('cause', details.codes.map(code).join(', '), language), ...list('accounts', names)]
    }
    case 'orders_flagged':
      return list('orders', details.orders.map(orderText))
    case 'books_unexplained': {
      const differences = details.differences.map(difference => differenceText(difference, options))
      return list('differences', differences)
    }
  }
}

function line(label: keyof typeof labels, html: string, language: Language): string {
  return `${labels[label][language]}: ${html}`.trimEnd()
}

/** The first of `count` members, one in a line, and the number of the others. */
function listOf(first: readonly string[], count: number, language: Language): string[] {
  const others = count - first.length
  return [...first.map(text => `• ${text}`), ...(others > 0 ? [line('others', String(others), language)] : [])]
}

function orderText({ account, exchange, symbol, exchangeOrderId, reason }: FlaggedOrder): string {
  const order = [exchange, account, symbol, exchangeOrderId].map(text => quoteText(text, MAX_NAME)).join(' ')
  return `${order}: ${code(reason)}`
}

/** The place and the amount of a difference, and what was recorded around its start. */
function differenceText(difference: UnexplainedDifference, options: TextOptions): string {
  const { account, exchange, what, difference: amount, causes } = difference
  const place = [exchange, account, what].map(text => quoteText(text, MAX_NAME)).join(' ')
  const near = causes.slice(0, MAX_CAUSES).map(({ kind, at, amount: change }) => {
    const parts = [
      `<code>${quoteText(kind, MAX_NAME)}</code>`,
      ...(change === undefined ? [] : [quoteText(roundedDifference(change), MAX_NAME)])
    ]
    return [...parts, ...(at === undefined ? [] : [formatTime(Date.parse(at), options)])].join(' ')
  })
  const { near: label, nothingNear } = labels
  const around = near.length === 0 ? nothingNear[options.language] : `${label[options.language]}: ${near.join(', ')}`
  return `${place}: ${quoteText(roundedDifference(amount), MAX_NAME)} (${around})`
}

/** `failed 2, refused 1`, each name as code. */
function countsOf(undone: Undone): string {
  return Object.entries(undone)
    .map(([reason, count]) => `${code(reason)} ${count}`)
    .join(', ')
}

function code(text: string): string {
  return `<code>${quoteText(text)}</code>`
}

/** A time as `2026-11-23 21:03:04 (Asia/Seoul)`. */
export function formatTime(at: number, { timeZone }: TextOptions): string {
  const parts = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' })
  return `${parts.format(at)} (${timeZone})`
}

const units: readonly (readonly [number, Sentence])[] = [
  [DAY, { ko: '일', en: ' d' }],
  [HOUR, { ko: '시간', en: ' h' }],
  [MINUTE, { ko: '분', en: ' min' }],
  [SECOND, { ko: '초', en: ' s' }]
]

/** A duration by its two largest units, rounded down: `3분 12초`, `3 min 12 s`. */
function formatDuration(ms: number, language: Language): string {
  const largest = units.findIndex(([unit]) => ms >= unit)
  if (largest < 0) return `0${units.at(-1)?.[1][language] ?? ''}`
  let rest = ms
  const shown: string[] = []
  for (const [unit, name] of units.slice(largest, largest + 2)) {
    const count = Math.floor(rest / unit)
    rest -= count * unit
    if (count > 0) shown.push(`${count}${name[language]}`)
  }
  return shown.join(' ')
}
