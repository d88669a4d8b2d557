// @FEAT:exchanges @COMP:service @TYPE:core

import { setTimeout as sleep } from 'node:timers/promises'
import { type Dispatcher, errors } from 'undici'
import { SECOND } from '../../async/durations.ts'
import type { ExchangeName } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { CallOptions } from '../exchange-client.ts'
import { ExchangeError, type ExchangeErrorCode, type ExchangeErrorDetails } from '../exchange-error.ts'
import { parseLossless, UnreadableAnswer } from './answer-fields.ts'
import { type Admission, CircuitBreaker, type CircuitState } from './circuit-breaker.ts'
import { type Cost, RateBudget, type RateLimit } from './rate-budget.ts'
import type { RowReader } from './row-reader.ts'

const DEFAULT_DEADLINE_MS = 10 * SECOND
const DEFAULT_ATTEMPT_MS = 5 * SECOND
const MAX_ATTEMPTS = 3
const BACKOFF_MS = 100
const DEFAULT_PENALTY_MS = 5 * SECOND
const MAX_PENALTY_MS = 10 * 60 * SECOND
const MAX_BODY_BYTES = 4 * 1024 * 1024
const MAX_ROWS_BYTES = 64 * 1024 * 1024
/** Work on arrived chunks before other events get their turn. */
const SLICE_MS = 4
/** The Date header counts whole seconds: nearer than this it has nothing to say about our skew. */
const DATE_HEADER_PRECISION_MS = SECOND

export interface GatewayOptions {
  exchange: ExchangeName
  /** The shared agent; whoever made it closes it. */
  dispatcher: Dispatcher
  /** Bound on one call with all its attempts unless the caller sets one. Default 10,000. */
  deadlineMs?: number
  /** Bound on one attempt. Default 5,000. */
  attemptMs?: number
  /** Our wall clock. Default `Date.now`. */
  now?: () => Millis
  /** A clock in ms that never goes back. Default `performance.now`. */
  monotonic?: () => number
  /** Between 0 and 1, for the jitter. Default `Math.random`. */
  random?: () => number
  /** Told the end of each call. */
  onCall?: (end: ExchangeCallEnd) => void
}

/** How a call ended, for those who count. */
export interface ExchangeCallEnd {
  exchange: ExchangeName
  /** `aborted`: its caller gave up; `internal`: a fault of ours. */
  outcome: 'ok' | ExchangeErrorCode | 'aborted' | 'internal'
  /** With all waits and attempts, in milliseconds. */
  durationMs: number
}

/** What an exchange answered, read losslessly. */
export interface Answer {
  status: number
  /** Every number in it is the text it was written in. For a call with `rows`, the envelope without them. */
  body: unknown
  header: (name: string) => string | null
  /** By our wall clock, the middle between question and answer. */
  askedAt: Millis
}

/** An exchange's refusal in our words. */
export interface Refusal {
  code: ExchangeErrorCode
  exchangeCode: string | null
  /** Our clock was refused: it is measured anew and the call repeated once. */
  clock?: boolean
  retryAfterMs?: number | null
}

/** A read. There are no other calls: that is why every one of them may be repeated. */
export interface ReadCall<T> {
  operation: string
  path: string
  /** Encoded, without `?`. */
  query?: string
  costs: readonly Cost[]
  /** Whose limits count: the API key, or nothing for public calls. */
  budgetKey?: string
  headers?: Readonly<Record<string, string>>
  /** Signs one attempt, by the exchange's clock. */
  sign?: (at: Millis) => SignedParts
  /** Makes the reader for an attempt's rows; without it the whole answer is read into `body`. */
  rows?: () => RowReader
  /** May throw UnreadableAnswer, which becomes `invalid_answer`, or an ExchangeError. */
  read: (answer: Answer) => T
}

export interface SignedParts {
  query: string
  headers: Readonly<Record<string, string>>
}

export interface HostOptions {
  /** Tells hosts apart. Default the base URL. */
  id?: string
  /** Root of the API; a path in it goes before every call's path. */
  baseUrl: string
  limits: readonly RateLimit[]
  /** What the exchange means by an answer; null when it is no refusal. Asked before the HTTP status is. */
  refusalOf: (answer: Answer) => Refusal | null
  /** Reads the exchange's clock. */
  clock: ReadCall<Millis>
  /** Headers that tell how much of a limit is used. */
  usage?: { header: string; limit: string }
}

/** How it stands with one host of an exchange. */
export interface HostStatus {
  /** Host name of the API, without path or keys. */
  host: string
  lastSuccessAt: Millis | null
  lastErrorAt: Millis | null
  lastErrorCode: ExchangeErrorCode | null
  /** The exchange's own code of that error. */
  lastExchangeCode: string | null
  /** Their clock minus ours; null until measured. */
  clockSkewMs: number | null
  circuit: CircuitState
  /** How long everybody waits because the exchange said so; 0 when nobody does. */
  blockedForMs: number
}

/** How it stands with an exchange: the latest of its hosts' figures, the worst of their circuits. */
export interface ExchangeStatus extends Omit<HostStatus, 'host'> {
  exchange: ExchangeName
  hosts: HostStatus[]
}

/** Everything that the clients of one exchange share: per host the rate limits, the circuit and the clock skew. */
export class ExchangeGateway {
  readonly exchange: ExchangeName
  readonly #options: GatewayOptions
  readonly #hosts = new Map<string, ExchangeHost>()

  constructor(options: GatewayOptions) {
    this.exchange = options.exchange
    this.#options = options
  }

  /** A host by its id; the same one for the same id, whatever else was said the second time. */
  host(options: HostOptions): ExchangeHost {
    const id = options.id ?? options.baseUrl
    const known = this.#hosts.get(id)
    if (known !== undefined) return known
    const host = new ExchangeHost(this.#options, options)
    this.#hosts.set(id, host)
    return host
  }

  /** Reads counters; makes no call. */
  status(): ExchangeStatus {
    const hosts = [...this.#hosts.values()].map(host => host.status())
    const latestError = hosts.reduce<HostStatus | null>(
      (latest, host) => ((host.lastErrorAt ?? 0) > (latest?.lastErrorAt ?? 0) ? host : latest),
      null
    )
    const skews = hosts.map(host => host.clockSkewMs).filter(skew => skew !== null)
    return {
      exchange: this.exchange,
      lastSuccessAt: latestOf(hosts.map(host => host.lastSuccessAt)),
      lastErrorAt: latestError?.lastErrorAt ?? null,
      lastErrorCode: latestError?.lastErrorCode ?? null,
      lastExchangeCode: latestError?.lastExchangeCode ?? null,
      clockSkewMs: skews.length === 0 ? null : skews.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)),
      circuit: worstOf(hosts.map(host => host.circuit)),
      blockedForMs: Math.max(0, ...hosts.map(host => host.blockedForMs)),
      hosts
    }
  }
}

/** One host of an exchange: the way out for every call to it. */
export class ExchangeHost {
  readonly #gateway: GatewayOptions
  readonly #host: HostOptions
  readonly #origin: string
  readonly #prefix: string
  readonly #budget: RateBudget
  readonly #circuit: CircuitBreaker
  readonly #now: () => Millis
  readonly #monotonic: () => number
  #lastSuccessAt: Millis | null = null
  #lastError: { at: Millis; error: ExchangeError } | null = null
  #skewMs: number | null = null

  constructor(gateway: GatewayOptions, host: HostOptions) {
    const url = new URL(host.baseUrl)
    this.#gateway = gateway
    this.#host = host
    this.#origin = url.origin
    this.#prefix = url.pathname.replace(/\/+$/, '')
    this.#now = gateway.now ?? Date.now
    this.#monotonic = gateway.monotonic ?? (() => performance.now())
    this.#budget = new RateBudget(host.limits, this.#monotonic)
    this.#circuit = new CircuitBreaker(this.#monotonic)
  }

  /**
   * Makes the call: waits for room in the rate limits, retries what may pass (no connection, no answer in time, 5xx,
   * answers that are not JSON), at most three attempts with jittered back-off, all within the deadline.
   *
   * @throws ExchangeError, or the signal's reason when the caller gave up
   */
  async call<T>(call: ReadCall<T>, options: CallOptions = {}): Promise<T> {
    const { exchange, onCall } = this.#gateway
    const begun = this.#monotonic()
    const tell = (outcome: ExchangeCallEnd['outcome']) =>
      onCall?.({ exchange, outcome, durationMs: this.#monotonic() - begun })
    try {
      const result = await this.#read(call, options)
      tell('ok')
      return result
    } catch (err) {
      if (options.signal?.aborted) tell('aborted')
      else tell(err instanceof ExchangeError ? err.code : 'internal')
      throw err
    }
  }

  async #read<T>(call: ReadCall<T>, options: CallOptions): Promise<T> {
    const deadline = this.#monotonic() + (options.deadlineMs ?? this.#gateway.deadlineMs ?? DEFAULT_DEADLINE_MS)
    try {
      return call.read(await this.#answer(call, deadline, options.signal))
    } catch (err) {
      if (options.signal?.aborted) throw options.signal.reason
      if (!(err instanceof UnreadableAnswer)) throw err
      const reason = err.message
      throw this.#noted(this.#error('invalid_answer', { operation: call.operation, reason, cause: err }))
    }
  }

  /** The exchange's clock now; what it tells is the skew for every signature from here on. */
  async serverTime(options: CallOptions = {}): Promise<Millis> {
    return await this.call(this.#clockCall(), options)
  }

  status(): HostStatus {
    return {
      host: new URL(this.#origin).host,
      lastSuccessAt: this.#lastSuccessAt,
      lastErrorAt: this.#lastError?.at ?? null,
      lastErrorCode: this.#lastError?.error.code ?? null,
      lastExchangeCode: this.#lastError?.error.exchangeCode ?? null,
      clockSkewMs: this.#skewMs === null ? null : Math.round(this.#skewMs),
      circuit: this.#circuit.state,
      blockedForMs: Math.round(this.#budget.blockedForMs)
    }
  }

  #clockCall(): ReadCall<Millis> {
    const { clock } = this.#host
    return {
      ...clock,
      read: answer => {
        const theirs = clock.read(answer)
        this.#skewMs = theirs - answer.askedAt
        return theirs
      }
    }
  }

  async #answer(call: ReadCall<unknown>, deadline: number, signal: AbortSignal | undefined): Promise<Answer> {
    let clockRefused = false
    let failure: Failure | undefined
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#attempt(call, deadline, signal)
      if (outcome === null) throw failure?.error ?? this.#circuitError(call.operation)
      if ('answer' in outcome) return outcome.answer
      failure = outcome
      this.#noted(outcome.error)
      if (outcome.clock && !clockRefused) {
        clockRefused = true
        const clock = this.#clockCall()
        clock.read(await this.#answer(clock, deadline, signal))
        continue
      }
      if (!outcome.mayPass || attempt >= MAX_ATTEMPTS) throw outcome.error
      const pause = (this.#gateway.random ?? Math.random)() * BACKOFF_MS * 2 ** attempt
      if (this.#monotonic() + pause >= deadline) throw outcome.error
      await sleep(pause, undefined, { ...(signal && { signal }) })
    }
  }

  /** Null when the circuit does not let it out. */
  async #attempt(call: ReadCall<unknown>, deadline: number, signal: AbortSignal | undefined): Promise<Outcome | null> {
    const admission = this.#circuit.admit()
    if (admission === null) return null
    let judged = false
    try {
      await this.#room(call, deadline, signal)
      const answered = await this.#timely(call, deadline, signal)
      const outcome =
        'error' in answered ? this.#fail(answered, admission) : this.#judge(call, answered, admission, deadline)
      judged = true
      return outcome
    } finally {
      if (!judged) this.#circuit.withdrawn(admission)
    }
  }

  /** Waits for room in the budget; refuses at once when there will be none before the deadline. */
  async #room(call: ReadCall<unknown>, deadline: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    for (;;) {
      const wait = this.#budget.take(call.costs, call.budgetKey ?? '')
      if (wait === 0) return
      if (this.#monotonic() + wait >= deadline) {
        throw this.#error('rate_limited', {
          operation: call.operation,
          retryAfterMs: Math.ceil(wait),
          reason: 'not called, to keep within the limits of the exchange'
        })
      }
      await sleep(Math.ceil(wait), undefined, { ...(signal && { signal }) })
    }
  }

  /** One exchange of question and answer within its time; a Failure when there was no answer. */
  async #timely(call: ReadCall<unknown>, deadline: number, signal: AbortSignal | undefined): Promise<Answer | Failure> {
    const controller = new AbortController()
    const giveUp = () => controller.abort(signal?.reason)
    signal?.addEventListener('abort', giveUp, { once: true })
    const limit = Math.min(this.#gateway.attemptMs ?? DEFAULT_ATTEMPT_MS, deadline - this.#monotonic())
    const timer = setTimeout(() => controller.abort(new OutOfTime()), Math.max(1, limit))
    try {
      return await this.#exchange(call, controller.signal)
    } catch (err) {
      if (signal?.aborted) throw signal.reason
      return this.#lost(call.operation, err)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', giveUp)
    }
  }

  async #exchange(call: ReadCall<unknown>, signal: AbortSignal): Promise<Answer> {
    const began = this.#now()
    const signed = call.sign?.(Math.floor(began + (this.#skewMs ?? 0)))
    const query = signed?.query ?? call.query ?? ''
    const { statusCode, headers, body } = await this.#gateway.dispatcher.request({
      origin: this.#origin,
      path: `${this.#prefix}${call.path}${query === '' ? '' : `?${query}`}`,
      method: 'GET',
      headers: { accept: 'application/json', 'user-agent': 'trading-health', ...call.headers, ...signed?.headers },
      signal
    })
    const header = (name: string) => {
      const value = headers[name]
      return (Array.isArray(value) ? value[0] : value) ?? null
    }
    const took = this.#now() - began
    const askedAt = began + took / 2
    // After a slow answer nobody knows at which moment of it the clock was read.
    if (took < DATE_HEADER_PRECISION_MS) this.#noteDate(header('date'), askedAt)
    this.#noteUsage(header, call.budgetKey ?? '')
    const rows = statusCode === 200 ? call.rows?.() : undefined
    const text = rows === undefined ? await textOf(body) : await rowsInto(rows, body)
    return { status: statusCode, header, askedAt, body: statusCode === 200 ? parseLossless(text) : parsedOrNull(text) }
  }

  #judge(call: ReadCall<unknown>, answer: Answer, admission: Admission, deadline: number): Outcome {
    const refusal = this.#host.refusalOf(answer) ?? refusalByStatus(answer.status)
    if (refusal === null) {
      this.#circuit.succeeded()
      this.#lastSuccessAt = this.#now()
      return { answer }
    }
    const { code, exchangeCode, clock = false } = refusal
    const details = { operation: call.operation, exchangeCode }
    if (code === 'unavailable' || code === 'timeout') return this.#fail(this.#failed(code, true, details), admission)
    this.#circuit.succeeded()
    if (code !== 'rate_limited') return { ...this.#failed(code, false, details), clock }
    const retryAfterMs = this.#penalty(answer, refusal)
    return this.#failed(code, this.#monotonic() + retryAfterMs < deadline, { ...details, retryAfterMs })
  }

  #fail(failure: Failure, admission: Admission): Failure {
    this.#circuit.failed(admission)
    return failure
  }

  /** Makes everybody wait as long as the exchange demands; answers how long. */
  #penalty(answer: Answer, refusal: Refusal): Millis {
    const stated = refusal.retryAfterMs ?? retryAfter(answer.header('retry-after'), this.#now()) ?? DEFAULT_PENALTY_MS
    const penalty = Math.min(Math.max(stated, 0), MAX_PENALTY_MS)
    this.#budget.blockFor(penalty)
    return penalty
  }

  /** An attempt that ended without an answer. */
  #lost(operation: string, err: unknown): Failure {
    if (err instanceof OutOfTime) return this.#failed('timeout', true, { operation })
    if (err instanceof UnreadableAnswer) {
      return this.#failed('invalid_answer', true, { operation, reason: err.message, cause: err })
    }
    const reason = systemCode(err)
    if (reason === null) throw err
    // A parser's error carries the bytes it choked on, which may repeat the signed URL.
    if (err instanceof errors.HTTPParserError) return this.#failed('invalid_answer', true, { operation, reason })
    const timedOut = err instanceof errors.ConnectTimeoutError || err instanceof errors.HeadersTimeoutError
    return this.#failed(timedOut ? 'timeout' : 'unavailable', true, { operation, reason, cause: err })
  }

  #failed(code: ExchangeErrorCode, mayPass: boolean, details: Omit<ExchangeErrorDetails, 'exchange'>): Failure {
    return { error: this.#error(code, details), mayPass, clock: false }
  }

  #circuitError(operation: string): ExchangeError {
    const retryAfterMs = Math.ceil(this.#circuit.retryAfterMs)
    return this.#error('unavailable', {
      operation,
      retryAfterMs,
      reason: 'not called, it failed repeatedly just now'
    })
  }

  #error(code: ExchangeErrorCode, details: Omit<ExchangeErrorDetails, 'exchange'>): ExchangeError {
    return new ExchangeError(code, { ...details, exchange: this.#gateway.exchange })
  }

  /** Remembers what the exchange failed at; an order or symbol that is not there says nothing about it. */
  #noted(error: ExchangeError): ExchangeError {
    if (error.code !== 'order_not_found' && error.code !== 'bad_symbol') this.#lastError = { at: this.#now(), error }
    return error
  }

  #noteDate(date: string | null, askedAt: Millis): void {
    const second = date === null ? Number.NaN : Date.parse(date)
    if (Number.isNaN(second)) return
    const skew = second + SECOND / 2 - askedAt
    if (this.#skewMs === null) this.#skewMs = Math.abs(skew) < DATE_HEADER_PRECISION_MS ? 0 : skew
    else if (Math.abs(skew - this.#skewMs) > DATE_HEADER_PRECISION_MS) this.#skewMs = skew
  }

  #noteUsage(header: (name: string) => string | null, key: string): void {
    const { usage } = this.#host
    const used = usage === undefined ? null : header(usage.header)
    if (usage !== undefined && used !== null && /^\d{1,9}$/.test(used)) {
      this.#budget.told(usage.limit, Number(used), key)
    }
  }
}

interface Failure {
  error: ExchangeError
  /** Another attempt may succeed. */
  mayPass: boolean
  clock: boolean
}
type Outcome = { answer: Answer } | Failure

class OutOfTime extends Error {}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new UnreadableAnswer('larger than 4 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}

async function rowsInto(reader: RowReader, body: AsyncIterable<Buffer>): Promise<string> {
  let bytes = 0
  let spent = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ROWS_BYTES) throw new UnreadableAnswer('larger than 64 MiB')
    const began = performance.now()
    reader.push(chunk)
    spent += performance.now() - began
    if (spent >= SLICE_MS) {
      await turn()
      spent = 0
    }
  }
  return reader.end()
}

/** Lets every event that waits have its turn. */
function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

function parsedOrNull(text: string): unknown {
  try {
    return parseLossless(text)
  } catch {
    // A refusal in HTML or plain text: its status says what there is to say.
    return null
  }
}

function refusalByStatus(status: number): Refusal | null {
  if (status === 200) return null
  const exchangeCode = String(status)
  if (status === 401) return { code: 'authentication', exchangeCode }
  if (status === 403 || status === 451) return { code: 'permission', exchangeCode }
  if (status === 408) return { code: 'timeout', exchangeCode }
  if (status === 429 || status === 418) return { code: 'rate_limited', exchangeCode }
  return { code: status >= 500 ? 'unavailable' : 'invalid_answer', exchangeCode }
}

/** The header Retry-After in ms, whether it holds seconds or a date; null when it holds neither. */
function retryAfter(header: string | null, now: Millis): Millis | null {
  if (header === null) return null
  if (/^\d{1,7}$/.test(header)) return Number(header) * SECOND
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : date - now
}

/** The code of an error of the network or of undici; null for any other, which is a fault of ours. */
function systemCode(err: unknown): string | null {
  const code = err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : ''
  return /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : null
}

function latestOf(times: readonly (Millis | null)[]): Millis | null {
  return times.reduce((latest, at) => (at !== null && at > (latest ?? 0) ? at : latest), null)
}

function worstOf(states: readonly CircuitState[]): CircuitState {
  if (states.includes('open')) return 'open'
  return states.includes('half_open') ? 'half_open' : 'closed'
}
