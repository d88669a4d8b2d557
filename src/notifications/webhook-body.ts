// @FEAT:health-monitoring @COMP:service @TYPE:integration
import { wellFormed } from './html.ts'
import type { NoticeEvent } from './notice-event.ts'

/** `json`: the event with its data; `slack`: what receivers of Slack's incoming webhooks read. */
export type WebhookFormat = 'json' | 'slack'

/** Discord's receiver of Slack messages rejects longer texts; Mattermost and Slack accept more. In UTF-16 units. */
const MAX_SLACK_TEXT = 2_000

/** A message to the webhook. */
export interface WebhookMessage {
  /** The plain text of the message. */
  text: string
  event: NoticeEvent
}

/** The body of the request. The same message always gives the same body. */
export function webhookBody({ text, event }: WebhookMessage, format: WebhookFormat, service: string): string {
  if (format === 'slack') return JSON.stringify({ text: slackText(text) })
  const { type, at, data } = event
  return JSON.stringify({ type, timestamp: at, data: { service, text, ...data } })
}

/**
 * A text for Slack, whose syntax has three special characters. A name cannot notify a whole channel: Mattermost and
 * Discord read that from plain text.
 */
function slackText(text: string): string {
  const short = text.length <= MAX_SLACK_TEXT ? text : `${wellFormed(text.slice(0, MAX_SLACK_TEXT - 1))}…`
  return short
    .replace(/@(?=channel|all|here|everyone)/gi, '@\u200B')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
}
