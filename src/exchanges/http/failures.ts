// @FEAT:exchanges @COMP:service @TYPE:helper
import { errors } from 'undici'
import { DeadlineError } from '../../async/deadline.ts'
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import { isRecord, UnreadableAnswer } from './answer-fields.ts'
import type { Answer, Refusal } from './exchange-call.ts'

/** Why an attempt failed, without the names of exchange and operation. */
export interface AttemptFailure {
  code: ExchangeErrorCode
  reason?: string
  cause?: unknown
}

/** The failure of an attempt that ended without a readable answer; null for an error that is a fault of this service. */
export function failureWithoutAnswer(err: unknown): AttemptFailure | null {
  if (err instanceof DeadlineError) return { code: 'timeout' }
  if (err instanceof UnreadableAnswer) return { code: 'invalid_answer', reason: err.message, cause: err }
  const reason = systemCodeOf(err)
  if (reason === null) return null
  // The parser's error holds the bytes that it rejected, which may repeat the signed URL: it is not kept as the cause.
  if (err instanceof errors.HTTPParserError) return { code: 'invalid_answer', reason }
  const timedOut = err instanceof errors.ConnectTimeoutError || err instanceof errors.HeadersTimeoutError
  return { code: timedOut ? 'timeout' : 'unavailable', reason, cause: err }
}

/** What an HTTP status means when the exchange gives no code of its own; null for 200. */
export function refusalByStatus(status: number): Refusal | null {
  if (status === 200) return null
  const exchangeCode = String(status)
  if (status === 401) return { code: 'authentication', exchangeCode }
  if (status === 403 || status === 451) return { code: 'permission', exchangeCode }
  if (status === 408) return { code: 'timeout', exchangeCode }
  if (status === 429 || status === 418) return { code: 'rate_limited', exchangeCode }
  return { code: status >= 500 ? 'unavailable' : 'invalid_answer', exchangeCode }
}

/** Texts of a refusal because of the country, by the exchange or by the network in front of it. */
const LOCATION =
  /block access from your country|restricted location|not (available|supported) in your (country|region)/i
const LOCATION_STATUSES: ReadonlySet<number> = new Set([403, 451])
/** The end of a ban as Binance writes it: `IP banned until 1659146400000`. */
const BANNED_UNTIL = /banned until (\d{13})\b/i
/** Fields in which exchanges write sentences. */
const SENTENCES = ['msg', 'retMsg', 'message']

/**
 * The refusal that the text of an answer states, whatever its status and code: a ban with its end, or the country of this
 * machine. Null when the answer has status 200, or its text states neither.
 * */
export function refusalByText(answer: Answer): Refusal | null {
  if (answer.status === 200) return null
  const text = textOfRefusal(answer)
  const exchangeCode = String(answer.status)
  const [, until] = BANNED_UNTIL.exec(text) ?? []
  if (until !== undefined) return { code: 'rate_limited', exchangeCode, retryAt: Number(until) }
  // With another status such a text is about one account or symbol, and must not stop the calls of all others.
  const isLocation = LOCATION_STATUSES.has(answer.status) && LOCATION.test(text)
  return isLocation ? { code: 'location_refused', exchangeCode } : null
}

function textOfRefusal({ body, page }: Answer): string {
  if (page !== null) return page
  const record = isRecord(body) ? body : {}
  const nested = isRecord(record.error) ? record.error : {}
  return [record, nested]
    .flatMap(one => SENTENCES.map(field => one[field]))
    .filter(text => typeof text === 'string')
    .join(' ')
}

/** The code of an error of the network or of undici; null for any other error. */
function systemCodeOf(err: unknown): string | null {
  const code = err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : ''
  return /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : null
}
