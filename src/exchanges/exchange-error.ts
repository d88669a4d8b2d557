// @FEAT:exchanges @COMP:service @TYPE:core
import type { ExchangeErrorCode } from '../domain/exchange-error-code.ts'
import type { ExchangeName } from '../domain/market.ts'

export interface ExchangeErrorDetails {
  exchange: ExchangeName
  /** The operation that failed, such as `openOrders`. */
  operation: string
  /** The exchange's own code, `-2015`, `invalid_access_key`, `503`; null when there was none. Default null. */
  exchangeCode?: string | null
  /** When to try again, for `rate_limited` and an open circuit. Default null. */
  retryAfterMs?: number | null
  /** One clear sentence of this service; never text of the exchange, which may repeat keys and addresses. */
  reason?: string
  cause?: unknown
}

const SAFE_EXCHANGE_CODE = /^[\w.-]{1,64}$/

/** A failed call. Its message, fields and causes hold no key, no signature and no signed URL. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError'
  readonly code: ExchangeErrorCode
  readonly exchange: ExchangeName
  readonly operation: string
  /** `unreadable` for a code with other characters than letters, digits, `_`, `.` and `-`. */
  readonly exchangeCode: string | null
  readonly retryAfterMs: number | null

  constructor(code: ExchangeErrorCode, details: ExchangeErrorDetails) {
    const given = details.exchangeCode ?? null
    const exchangeCode = given === null || SAFE_EXCHANGE_CODE.test(given) ? given : 'unreadable'
    const suffix = exchangeCode === null ? '' : ` (${exchangeCode})`
    const reason = details.reason === undefined ? '' : `: ${details.reason}`
    super(
      `${details.exchange} ${details.operation} failed: ${code}${suffix}${reason}`,
      details.cause === undefined ? undefined : { cause: details.cause }
    )
    this.code = code
    this.exchange = details.exchange
    this.operation = details.operation
    this.exchangeCode = exchangeCode
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}
