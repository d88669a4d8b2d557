// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { Dispatcher } from 'undici'
import { SECOND } from '../async/durations.ts'
import type { Timers } from '../async/timers.ts'
import { callForStatus, HttpCallError, type HttpStatus } from '../http-call.ts'
import { type WebhookFormat, type WebhookMessage, webhookBody } from './webhook-body.ts'
import { WebhookError } from './webhook-error.ts'
import { webhookHeaders, webhookId } from './webhook-signature.ts'

/** Longest duration of one request. */
const DEADLINE_MS = 10 * SECOND

export interface WebhookClientOptions {
  url: string
  format: WebhookFormat
  /** Signs the requests; undefined: they are not signed. */
  secret?: string | undefined
  /** Named in the body. */
  service: string
  /** Sends the requests; its creator closes it. */
  dispatcher: Dispatcher
  /** Called at the end of each request. */
  onCall?: (end: WebhookCallEnd) => void
  timers?: Timers
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
}

/** The end of a request, for metrics. */
export interface WebhookCallEnd {
  outcome: 'ok' | WebhookError['code']
  durationMs: number
}

/**
 * Sends messages to one webhook. Each call is one request, which is not repeated and does not follow redirects. An
 * answer with a status from 200 to 299 is a delivery. No error contains the URL or a secret.
 */
export class WebhookClient {
  readonly #options: WebhookClientOptions

  constructor(options: WebhookClientOptions) {
    this.#options = options
  }

  /**
   * @param message `key` gives the id of the request, by which the receiver recognises a repetition
   * @throws {WebhookError}
   */
  async send(
    message: WebhookMessage & { key: string },
    { deadlineMs = DEADLINE_MS, signal }: { deadlineMs?: number; signal?: AbortSignal | undefined } = {}
  ): Promise<void> {
    const { onCall } = this.#options
    const startedMs = performance.now()
    const report = (outcome: WebhookCallEnd['outcome']) =>
      onCall?.({ outcome, durationMs: performance.now() - startedMs })
    try {
      check(await this.#post(message, Math.min(deadlineMs, DEADLINE_MS), signal))
      report('ok')
    } catch (err) {
      const known = err instanceof HttpCallError ? withoutAnswer(err) : err
      if (known instanceof WebhookError) report(known.code)
      throw known
    }
  }

  #post(message: WebhookMessage & { key: string }, deadlineMs: number, signal: AbortSignal | undefined) {
    const { url, format, secret, service, dispatcher, timers, now = Date.now } = this.#options
    const body = webhookBody(message, format, service)
    const signed = { id: webhookId(message.key), timestamp: Math.floor(now() / SECOND), body }
    const headers = { 'content-type': 'application/json', ...webhookHeaders(signed, secret) }
    return callForStatus({
      url,
      method: 'POST',
      headers,
      body,
      dispatcher,
      deadlineMs,
      signal,
      ...(timers && { timers })
    })
  }
}

/** @throws {WebhookError} unless the status is from 200 to 299 */
function check({ status, retryAfterMs }: HttpStatus): void {
  if (status >= 200 && status < 300) return
  const details = { status, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  if (status === 429) throw new WebhookError('WEBHOOK_RATE_LIMITED', details)
  // 408 and 425 ask for a repetition, as a server error does.
  if (status >= 500 || status === 408 || status === 425) throw new WebhookError('WEBHOOK_UNREACHABLE', details)
  throw new WebhookError('WEBHOOK_REJECTED', { status })
}

function withoutAnswer({ reason }: HttpCallError): WebhookError {
  return new WebhookError(reason === 'ABORTED' ? 'WEBHOOK_ABORTED' : 'WEBHOOK_UNREACHABLE', { reason })
}
