// @FEAT:health-monitoring @COMP:service @TYPE:core
import { eventData, type NoticeEvent } from '../notifications/notice-event.ts'
import type { EventMessage } from '../notifications/outbox.ts'
import { conditionLine, noticeText, restartNotice, type TextOptions, type UncleanRestart } from './alert-text.ts'
import type { Notice } from './alerts.ts'

/** For whom messages are. */
export interface Recipient {
  /** The operator's chat; undefined where only the webhook gets messages. */
  chatId: string | undefined
  text: TextOptions
}

const eventTypes = {
  alert: 'alert.raised',
  reminder: 'alert.reminded',
  recovery: 'alert.recovered'
} as const satisfies Record<Notice['type'], NoticeEvent['type']>

/** The message about a notice. */
export function noticeMessage(notice: Notice, { chatId, text }: Recipient): EventMessage {
  const { type, key, dedupeKey, details, since, at, lastedMs } = notice
  const { kind, ...facts } = details
  const lasted = type === 'alert' ? {} : { lastedMs }
  const data = eventData({ kind, condition: key, since, ...lasted, details: facts })
  const event = { type: eventTypes[type], at: new Date(at).toISOString(), data }
  return { chatId, text: noticeText(notice, text), key: dedupeKey, event, line: conditionLine(details, text) }
}

/** The message about an unclean restart. */
export function restartMessage(restart: UncleanRestart, { chatId, text }: Recipient): EventMessage {
  const { instance, startedAt, lastSeenAt, missed } = restart
  const { dedupeKey, text: html } = restartNotice(restart, text)
  const data = eventData({ instance, lastSeenAt, missed })
  const event = { type: 'replica.restarted', at: new Date(startedAt).toISOString(), data } as const
  return { chatId, text: html, key: dedupeKey, event }
}
