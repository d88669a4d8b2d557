/**
 * Why a message did not reach the webhook:
 * - `WEBHOOK_RATE_LIMITED`: too many requests; retry after `retryAfterMs`, where it is known
 * - `WEBHOOK_UNREACHABLE`: no answer within the deadline, or a server error
 * - `WEBHOOK_REJECTED`: the receiver rejects the request: a wrong address or secret, a redirect, a channel that is gone
 * - `WEBHOOK_ABORTED`: the caller's signal aborted the call
 */
export type WebhookErrorCode = 'WEBHOOK_RATE_LIMITED' | 'WEBHOOK_UNREACHABLE' | 'WEBHOOK_REJECTED' | 'WEBHOOK_ABORTED'

/** A call of the webhook failed. It has no `cause`: network errors quote the URL, which may be a secret. */
export class WebhookError extends Error {
  override name = 'WebhookError'
  readonly code: WebhookErrorCode
  /** HTTP status of the answer, where there was one. */
  readonly status: number | undefined
  /** The wait before the receiver accepts another request, in milliseconds, at most an hour. */
  readonly retryAfterMs: number | undefined
  /** Whether no later attempt can deliver this message. */
  readonly rejectsText: boolean

  constructor(code: WebhookErrorCode, options: { status?: number; reason?: string; retryAfterMs?: number } = {}) {
    const { status, reason, retryAfterMs } = options
    super([code, status === undefined ? reason : `status ${status}`].filter(part => part !== undefined).join(', '))
    this.code = code
    this.status = status
    this.retryAfterMs = retryAfterMs
    this.rejectsText = status === 413
  }
}
