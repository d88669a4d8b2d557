import type { ErrorObject } from 'ajv'
import { isMessageKey, type Language, type MessageKey, message } from './messages.ts'

/** Stable error codes of the API and the HTTP status of each. The sentence of each code is in `messages.ts`. */
export const catalogue = {
  BAD_REQUEST: 400,
  MALFORMED_JSON: 400,
  VALIDATION_FAILED: 400,
  UNAUTHENTICATED: 401,
  INVALID_CREDENTIALS: 401,
  FORBIDDEN: 403,
  PASSWORD_CHANGE_REQUIRED: 403,
  FOREIGN_ORIGIN: 403,
  PASSWORD_UNCHANGED: 400,
  PASSWORD_TOO_COMMON: 400,
  PASSWORD_CONTAINS_NAME: 400,
  TOO_MANY_ATTEMPTS: 429,
  NOT_FOUND: 404,
  JOB_NOT_FOUND: 404,
  RUN_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  JOB_ALREADY_RUNNING: 409,
  PAYLOAD_TOO_LARGE: 413,
  URI_TOO_LONG: 414,
  UNSUPPORTED_MEDIA_TYPE: 415,
  HEADERS_TOO_LARGE: 431,
  INTERNAL_ERROR: 500,
  JOB_FAILED: 500,
  TELEGRAM_UNAUTHORIZED: 502,
  TELEGRAM_CHAT_NOT_FOUND: 502,
  TELEGRAM_BLOCKED: 502,
  TELEGRAM_RATE_LIMITED: 502,
  TELEGRAM_UNREACHABLE: 502,
  TELEGRAM_NOT_CONFIGURED: 503,
  OVERLOADED: 503,
  DRAINING: 503,
  SETTINGS_DIFFER: 503,
  DATABASE_UNAVAILABLE: 503
} as const satisfies Partial<Record<MessageKey, number>>

export type ErrorCode = keyof typeof catalogue

/** What is wrong with one field of a request: a JSON pointer to it, the rule it breaks, and a sentence. */
export interface ErrorDetail {
  field: string
  rule: string
  message: string
}

/** The body of every error answer of the API. */
export interface ErrorBody {
  success: false
  error: string
  code: ErrorCode
  details?: ErrorDetail[]
}

/**
 * An error that the API may show: a client gets the code and the sentence of the catalogue, `extra` and `headers`.
 * `cause` is for the log only. `extra` has the further fields of the answer that the contract names for this code.
 */
export class ServiceError extends Error {
  override name = 'ServiceError'
  readonly code: ErrorCode
  readonly extra: Record<string, unknown>
  readonly headers: Record<string, string>

  constructor(
    code: ErrorCode,
    options: { cause?: unknown; extra?: Record<string, unknown>; headers?: Record<string, string> } = {}
  ) {
    super(message(code, 'en'), { cause: options.cause })
    this.code = code
    this.extra = options.extra ?? {}
    this.headers = options.headers ?? {}
  }
}

/** The envelope of an error answer in a language. */
export function errorBody(code: ErrorCode, language: Language, details?: ErrorDetail[]): ErrorBody {
  return { success: false, error: message(code, language), code, ...(details && { details }) }
}

/**
 * An error about one value that the schema alone cannot reject.
 * @param field a JSON pointer that starts with the part of the request, `/body/date`
 */
export function invalidField(
  field: string,
  language: Language,
  rule: 'other' | 'pattern' | 'uniqueKeys' = 'other'
): ServiceError {
  const details: ErrorDetail[] = [{ field, rule, message: message(`rule.${rule}`, language) }]
  return new ServiceError('VALIDATION_FAILED', { extra: { details } })
}

/**
 * Converts Ajv's errors into details: the field and the rule, never a value of the request.
 * @param part the part of the request: `body`, `querystring`, `params` or `headers`
 */
export function validationDetails(errors: readonly ErrorObject[], part: string, language: Language): ErrorDetail[] {
  return errors.map(({ instancePath, keyword, params }) => {
    const own = params.missingProperty ?? params.additionalProperty
    const key = `rule.${keyword}`
    return {
      field: `/${part}${instancePath}${own === undefined ? '' : `/${String(own).slice(0, 64)}`}`,
      rule: keyword,
      message: message(isMessageKey(key) ? key : 'rule.other', language, params)
    }
  })
}
