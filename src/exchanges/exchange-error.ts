// @FEAT:exchanges @COMP:service @TYPE:core
import type { ExchangeName } from '../domain/market.ts'

/** Every way in which a call can fail. */
export const EXCHANGE_ERROR_CODES = [
  'authentication',
  'permission',
  'rate_limited',
  'unavailable',
  'timeout',
  'bad_symbol',
  'order_not_found',
  'invalid_answer'
] as const
export type ExchangeErrorCode = (typeof EXCHANGE_ERROR_CODES)[number]

export interface ExchangeErrorDetails {
  exchange: ExchangeName
  /** What was asked, e.g. `openOrders`. */
  operation: string
  /** The exchange's own code, `-2015`, `invalid_access_key`, `503`; null when there was none. */
  exchangeCode?: string | null
  /** When to come again, for `rate_limited` and an open circuit. */
  retryAfterMs?: number | null
  /** One clear sentence of ours; never text from the exchange, which may repeat keys and addresses. */
  reason?: string
  cause?: unknown
}

const OWN_CODE = /^[\w.-]{1,64}$/

/** A failed call. Its message, fields and causes hold no key, no signature and no signed URL. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError'
  readonly code: ExchangeErrorCode
  readonly exchange: ExchangeName
  readonly operation: string
  readonly exchangeCode: string | null
  readonly retryAfterMs: number | null

  constructor(code: ExchangeErrorCode, details: ExchangeErrorDetails) {
    const ownCode = details.exchangeCode ?? null
    const exchangeCode = ownCode === null || OWN_CODE.test(ownCode) ? ownCode : 'unreadable'
    const told = exchangeCode === null ? '' : ` (${exchangeCode})`
    const reason = details.reason === undefined ? '' : `: ${details.reason}`
    super(
      `${details.exchange} ${details.operation} failed: ${code}${told}${reason}`,
      details.cause === undefined ? undefined : { cause: details.cause }
    )
    this.code = code
    this.exchange = details.exchange
    this.operation = details.operation
    this.exchangeCode = exchangeCode
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}
