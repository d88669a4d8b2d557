// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Language } from '../messages.ts'
import { quoteText } from '../notifications/html.ts'
import { eventData, type NoticeEvent } from '../notifications/notice-event.ts'
import type { EventMessage } from '../notifications/outbox.ts'
import { type EndedWindow, type SuppressedNotice, takeEndedWindow } from '../notifications/quiet-window.ts'
import { conditionLine, formatTime, kindTitle, type TextOptions } from './alert-text.ts'
import type { Conditions } from './alerts.ts'
import type { Recipient } from './notice-message.ts'

/** Lines of each list of the summary. */
const MAX_LINES = 20

const words = {
  over: { ko: '알림 중지 종료', en: 'Quiet window over' },
  by: { ko: '조작자', en: 'By' },
  reason: { ko: '사유', en: 'Reason' },
  since: { ko: '시작 시각', en: 'From' },
  until: { ko: '종료 시각', en: 'To' },
  suppressed: { ko: '보내지 않은 알림', en: 'Suppressed messages' },
  events: { ko: '외부 주문 내역', en: 'External orders' },
  open: { ko: '아직 해소되지 않음', en: 'Still open' },
  recovered: { ko: '그동안 해소됨', en: 'Ended meanwhile' },
  others: { ko: '그 외', en: 'Others' },
  'replica.restarted': { ko: '비정상 종료 후 재시작됨', en: 'Restarted after an unclean shutdown' },
  'order.external': { ko: '외부 주문', en: 'External order' },
  'order.forced': { ko: '거래소가 강제로 체결한 주문', en: 'Order that the exchange traded by force' }
} satisfies Record<string, Record<Language, string>>

/** A condition in the summary. */
interface Listed {
  condition: string
  line: string
}

/** What a window suppressed, and the state of the conditions after it. */
export interface QuietReport extends EndedWindow {
  open: Listed[]
  recovered: Listed[]
}

/**
 * The summary of a quiet window that is over, once. Call it under the advisory lock of alerts, after the evaluation.
 * @param conditions all conditions, as they are stored
 */
export async function quietSummary(
  tx: TransactionSql,
  conditions: () => Promise<Conditions>,
  recipient: Recipient
): Promise<EventMessage[]> {
  const ended = await takeEndedWindow(tx)
  return ended ? [quietMessage(reportOf(ended, await conditions(), recipient.text), recipient)] : []
}

/** Compares what was suppressed with the conditions at the end. */
function reportOf(ended: EndedWindow, conditions: Conditions, options: TextOptions): QuietReport {
  const last = new Map(ended.notices.map(notice => [notice.condition, notice]))
  const isOver = ({ type }: SuppressedNotice) => type === 'alert.recovered'
  const listed = (notices: readonly SuppressedNotice[]) =>
    notices.flatMap(({ condition, line }) => (condition === null || line === null ? [] : [{ condition, line }]))
  const open = [
    ...Object.entries(conditions).flatMap(([condition, { trouble }]) =>
      trouble?.isTold && !isPlannedStop(trouble.details)
        ? [{ condition, line: conditionLine(trouble.details, options) }]
        : []
    ),
    // Each replica keeps the condition of its readiness itself.
    ...listed([...last.values()].filter(notice => notice.kind === 'readiness' && !isOver(notice)))
  ]
  const openKeys = new Set(open.map(({ condition }) => condition))
  const recovered = listed([...last.values()].filter(isOver)).filter(({ condition }) => !openKeys.has(condition))
  return { ...ended, open, recovered }
}

/** A stop with an end is not reported. */
function isPlannedStop(details: NonNullable<Conditions[string]['trouble']>['details']): boolean {
  return details.kind === 'scheduler_stopped' && details.until !== null
}

/** The message about the end of a quiet window. */
export function quietMessage(report: QuietReport, { chatId, text }: Recipient): EventMessage {
  const { by, reason, since, until, notices, open, recovered } = report
  const keysOf = (listed: readonly Listed[]) => listed.map(({ condition }) => condition)
  const data = eventData({
    ...{ by, reason, since: since.getTime(), until: until.getTime() },
    ...{ suppressed: notices.length, open: keysOf(open), recovered: keysOf(recovered) }
  })
  const event: NoticeEvent = { type: 'quiet.ended', at: until.toISOString(), data }
  return { chatId, text: quietText(report, text), key: `quiet:${since.getTime()}:${until.getTime()}`, event }
}

/** The summary in Telegram's HTML. */
function quietText({ by, reason, since, until, notices, open, recovered }: QuietReport, options: TextOptions): string {
  const { language } = options
  const events = notices.flatMap(({ condition, line }) => (condition === null && line !== null ? [line] : []))
  const fact = (word: keyof typeof words, html: string) => `${words[word][language]}: ${html}`
  const list = (word: keyof typeof words, count: number, lines: readonly string[]) => {
    const others = lines.length - MAX_LINES
    return [
      fact(word, String(count)),
      ...lines.slice(0, MAX_LINES).map(line => `• ${line}`),
      ...(others > 0 ? [fact('others', String(others))] : [])
    ]
  }
  return [
    `🔔 <b>${words.over[language]}</b>`,
    fact('by', quoteText(by)),
    fact('reason', quoteText(reason, 500)),
    fact('since', formatTime(since.getTime(), options)),
    fact('until', formatTime(until.getTime(), options)),
    ...list('suppressed', notices.length, countsOf(notices, language)),
    ...(events.length > 0 ? list('events', events.length, events) : []),
    ...list('open', open.length, linesOf(open)),
    ...list('recovered', recovered.length, linesOf(recovered))
  ].join('\n')
}

function linesOf(listed: readonly Listed[]): string[] {
  return listed.map(({ line }) => line)
}

/** `Job failed × 3`, a line for each kind. */
function countsOf(notices: readonly SuppressedNotice[], language: Language): string[] {
  const counts = new Map<string, number>()
  for (const { kind, type } of notices) {
    const title = kind === null ? titleOf(type, language) : (kindTitle(kind, language) ?? quoteText(kind))
    counts.set(title, (counts.get(title) ?? 0) + 1)
  }
  return [...counts].map(([title, count]) => `${title} × ${count}`)
}

function titleOf(type: string, language: Language): string {
  const word = Object.entries(words).find(([name]) => name === type)
  return word ? word[1][language] : quoteText(type)
}
