// Imported with the first outgoing call: undici takes a tenth of the memory and a third of the start-up time of the service.
import { type Dispatcher, request } from 'undici'
import { DeadlineError, withDeadline } from './async/deadline.ts'
import { HOUR, SECOND } from './async/durations.ts'
import type { Timers } from './async/timers.ts'
import { parseRetryAfter } from './retry-after.ts'

/** So many bytes of the body of an answer are read for so long, and discarded, so that the connection can be used again. */
const MAX_ANSWER_BYTES = 16 * 1_024
const ANSWER_BODY_MS = SECOND

/** A request whose answer counts by its status alone. */
export interface HttpCall {
  url: string
  method: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: string
  /** Its creator closes it. */
  dispatcher: Dispatcher
  /** Longest duration, in milliseconds. */
  deadlineMs: number
  signal?: AbortSignal | undefined
  timers?: Timers
}

export interface HttpStatus {
  status: number
  /** How long the server asks to wait, in milliseconds, at most an hour; undefined where it does not. */
  retryAfterMs: number | undefined
}

/**
 * A call had no answer. Its URL may be a secret, and network errors quote URLs, so this error has no `cause`: `reason` is
 * `TIMEOUT`, `ABORTED`, or the code of the error of Node or undici.
 */
export class HttpCallError extends Error {
  override name = 'HttpCallError'
  readonly reason: string

  constructor(reason: string) {
    super(reason)
    this.reason = reason
  }
}

/**
 * Makes a request once and returns the status of the answer. Redirects are not followed.
 * @throws {HttpCallError} when no answer came within the deadline
 */
export async function callForStatus(call: HttpCall): Promise<HttpStatus> {
  const { url, method, headers, body, dispatcher, deadlineMs, signal, timers } = call
  const send = async (signal: AbortSignal) => {
    const answer = await request(url, {
      method,
      dispatcher,
      headers: { 'user-agent': 'trading-health', ...headers },
      ...(body !== undefined && { body }),
      signal
    })
    // The status is the result: a body that is too long, slow or cut does not change it.
    const bounds = { limit: MAX_ANSWER_BYTES, signal: AbortSignal.timeout(ANSWER_BODY_MS) }
    await answer.body.dump(bounds).catch(() => undefined)
    const wait = parseRetryAfter(headerOf(answer.headers['retry-after']), Date.now())
    const retryAfterMs = wait === null ? undefined : Math.min(Math.max(wait, 0), HOUR)
    return { status: answer.statusCode, retryAfterMs }
  }
  try {
    return await withDeadline(send, deadlineMs, { signal, ...(timers && { timers }) })
  } catch (err) {
    if (signal?.aborted) throw new HttpCallError('ABORTED')
    throw new HttpCallError(err instanceof DeadlineError ? 'TIMEOUT' : codeOf(err))
  }
}

function headerOf(value: string | string[] | undefined): string | null {
  return (Array.isArray(value) ? value[0] : value) ?? null
}

/** The code of an error of Node or undici: no URL matches the pattern. */
function codeOf(err: unknown): string {
  const code = typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : 'CONNECTION_FAILED'
}
