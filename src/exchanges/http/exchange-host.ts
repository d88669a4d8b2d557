// @FEAT:exchanges @COMP:service @TYPE:core
import { unlessAborted } from '../../async/abort.ts'
import { type BackOff, backOffMs } from '../../async/back-off.ts'
import { withDeadline } from '../../async/deadline.ts'
import { HOUR, SECOND } from '../../async/durations.ts'
import { sleep, systemTimers, type Timers } from '../../async/timers.ts'
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { Millis } from '../../domain/millis.ts'
import { parseRetryAfter } from '../../retry-after.ts'
import type { CallOptions } from '../exchange-client.ts'
import { ExchangeError, type ExchangeErrorDetails } from '../exchange-error.ts'
import { UnreadableAnswer } from './answer-fields.ts'
import { type AnswerHead, readAnswer, sendRequest } from './answer-reader.ts'
import { purposeOf } from './budget-shares.ts'
import { type Admission, CircuitBreaker } from './circuit-breaker.ts'
import { ClockSkew } from './clock-skew.ts'
import type { Answer, ReadCall, Refusal } from './exchange-call.ts'
import { failureWithoutAnswer, refusalByStatus, refusalByText } from './failures.ts'
import type { ExchangeCallEnd, GatewayOptions, HostOptions } from './host-options.ts'
import type { HostStatus } from './host-status.ts'
import { RateBudget } from './rate-budget.ts'

const DEFAULT_DEADLINE_MS = 10 * SECOND
const DEFAULT_ATTEMPT_MS = 5 * SECOND
const MAX_ATTEMPTS = 3
const BACK_OFF: BackOff = { minMs: 200, maxMs: 400, jitter: 1 }
const DEFAULT_PENALTY_MS = 5 * SECOND
/** Binance bans an address for up to three days. A longer time is taken for a mistake. */
const MAX_PENALTY_MS = 7 * 24 * HOUR
/** A longer block of an address is reported as a ban. */
const BAN_FROM_MS = 5 * SECOND

/** A call under way. */
interface PendingCall {
  call: ReadCall<unknown>
  /** By the monotonic clock. */
  deadline: number
  /** The end of waits for room in the budget. */
  waitUntil: number
  signal: AbortSignal | undefined
}

interface Failure {
  error: ExchangeError
  /** Another attempt may succeed. */
  retryable: boolean
  /** Counts as a failure of the host: it opens the circuit. */
  outage: boolean
}

type ErrorDetails = Omit<ExchangeErrorDetails, 'exchange'>

/** One host of an exchange, the single entry point for calls to it: rate limits, retries, circuit and deadlines. */
export class ExchangeHost {
  /** Identifies the host among those of its exchange. */
  readonly id: string
  readonly #gateway: GatewayOptions
  readonly #host: HostOptions
  readonly #url: URL
  readonly #budget: RateBudget
  readonly #circuit: CircuitBreaker
  readonly #skew = new ClockSkew()
  readonly #now: () => Millis
  readonly #monotonic: () => number
  readonly #timers: Timers
  #lastSuccessAt: Millis | null = null
  #latencyMs: Millis | null = null
  #lastError: { at: Millis; error: ExchangeError } | null = null

  constructor(gateway: GatewayOptions, host: HostOptions) {
    this.#gateway = gateway
    this.#host = host
    this.id = host.id ?? host.baseUrl
    this.#url = new URL(host.baseUrl)
    this.#now = gateway.now ?? Date.now
    this.#monotonic = gateway.monotonic ?? (() => performance.now())
    this.#timers = gateway.timers ?? systemTimers
    this.#budget = new RateBudget(host.limits, this.#monotonic, gateway.replicas, host.usage?.limits)
    this.#circuit = new CircuitBreaker(this.#monotonic)
  }

  /**
   * Makes a call. It waits for room in the rate limits and retries transient failures (no connection, no answer in
   * time, 5xx, answers that are not JSON): at most three attempts with jittered back-off, all within the deadline.
   * Idempotent, as every route only reads.
   *
   * @throws {ExchangeError} and the signal's reason when the caller aborts the call
   */
  async call<T>(call: ReadCall<T>, options: CallOptions = {}): Promise<T> {
    const { exchange, onCall } = this.#gateway
    const startedAt = this.#monotonic()
    let outcome: ExchangeCallEnd['outcome'] = 'ok'
    try {
      return await this.#callAndParse(call, options)
    } catch (err) {
      outcome = err instanceof ExchangeError ? err.code : 'internal'
      if (options.signal?.aborted) outcome = 'aborted'
      throw err
    } finally {
      onCall?.({ exchange, outcome, durationMs: this.#monotonic() - startedAt })
    }
  }

  /**
   * The exchange's clock now. Measures the skew that later signatures use.
   *
   * @throws {ExchangeError} and the signal's reason when the caller aborts the call
   */
  async serverTime(options: CallOptions = {}): Promise<Millis> {
    return await this.call(this.#clockCall(), options)
  }

  /** The time by the exchange's clock, as far as its skew is known. Makes no call. */
  get now(): Millis {
    return this.#skew.hostTime(this.#now())
  }

  /** Makes no call for `ms` milliseconds, because of a ban that the cluster knows; 0 when there is none any more. */
  blockClusterFor(ms: Millis): void {
    this.#budget.blockClusterFor(ms)
  }

  /** Keeps an error for `status` that was found in an answer after its call. */
  answerUnreadable(error: ExchangeError): void {
    this.#recordError(error)
  }

  /** Our time of a moment by the host's clock. */
  ourTime(hostTime: Millis): Millis {
    return this.#skew.ourTime(hostTime)
  }

  /** Reads counters; makes no call. */
  status(): HostStatus {
    const skewMs = this.#skew.ms
    return {
      id: this.id,
      host: this.#url.host,
      lastSuccessAt: this.#lastSuccessAt,
      latencyMs: this.#latencyMs,
      lastErrorAt: this.#lastError?.at ?? null,
      lastErrorCode: this.#lastError?.error.code ?? null,
      lastExchangeCode: this.#lastError?.error.exchangeCode ?? null,
      clockSkewMs: skewMs === null ? null : Math.round(skewMs),
      circuit: this.#circuit.state,
      blockedForMs: Math.round(this.#budget.blockedForMs),
      uses: this.#budget.uses()
    }
  }

  async #callAndParse<T>(call: ReadCall<T>, { signal, deadlineMs, maxWaitMs }: CallOptions): Promise<T> {
    const now = this.#monotonic()
    const deadline = now + (maxWaitMs ?? 0) + (deadlineMs ?? this.#gateway.deadlineMs ?? DEFAULT_DEADLINE_MS)
    const waitUntil = maxWaitMs === undefined ? deadline : now + maxWaitMs
    try {
      return call.read(await this.#callWithRetries({ call, deadline, waitUntil, signal }))
    } catch (err) {
      if (signal?.aborted) throw signal.reason
      // The adapter has already translated most answers that cannot be read.
      if (err instanceof ExchangeError && err.code === 'invalid_answer') this.#recordError(err)
      if (!(err instanceof UnreadableAnswer)) throw err
      const details = { operation: call.route.operation, reason: err.message, cause: err }
      throw this.#recordError(this.#error('invalid_answer', details))
    }
  }

  #clockCall(): ReadCall<Millis> {
    const { clock } = this.#host
    return {
      ...clock,
      read: answer => {
        const hostTime = clock.read(answer)
        this.#skew.measure(hostTime, answer.askedAt)
        return hostTime
      }
    }
  }

  async #callWithRetries(pending: PendingCall): Promise<Answer> {
    const { call, deadline, signal } = pending
    let failure: Failure | undefined
    for (let attempt = 1; ; attempt++) {
      const admission = this.#circuit.admit()
      if (admission === null) throw failure?.error ?? this.#circuitOpen(call.route.operation)
      const outcome = await this.#attempt(pending, admission)
      if (!('error' in outcome)) return outcome
      failure = outcome
      this.#recordError(outcome.error)
      // A call without a signature has no time that could be wrong: reading the clock again would not end.
      if (outcome.error.code === 'clock' && call.sign !== undefined && attempt < MAX_ATTEMPTS) {
        const clock = this.#clockCall()
        clock.read(await this.#callWithRetries({ ...pending, call: clock }))
        continue
      }
      if (!outcome.retryable || attempt >= MAX_ATTEMPTS) throw outcome.error
      const pauseMs = backOffMs(BACK_OFF, attempt, () => 1 - (this.#gateway.random ?? Math.random)())
      if (this.#monotonic() + pauseMs >= deadline) throw outcome.error
      await sleep(this.#timers, pauseMs, signal)
    }
  }

  /** Gives the admission back to the circuit, whatever happens. */
  async #attempt(pending: PendingCall, admission: Admission): Promise<Answer | Failure> {
    let recorded = false
    try {
      await this.#waitForBudget(pending)
      const answer = await this.#answerWithinTime(pending)
      const outcome = 'error' in answer ? answer : (this.#refusalFailure(pending, answer) ?? answer)
      if ('error' in outcome && outcome.outage) this.#circuit.recordFailure(admission)
      else this.#circuit.recordSuccess()
      recorded = true
      return outcome
    } finally {
      if (!recorded) this.#circuit.release(admission)
    }
  }

  /** @throws {ExchangeError} `rate_limited` at once when there will be no room in the budget in time */
  async #waitForBudget({ call, waitUntil, signal }: PendingCall): Promise<void> {
    const purpose = purposeOf(call.route.operation)
    for (;;) {
      signal?.throwIfAborted()
      const waitMs = this.#budget.take(call.route.costs, call.budgetKey ?? '', purpose)
      if (waitMs === 0) return
      if (this.#monotonic() + waitMs >= waitUntil) {
        throw this.#error('rate_limited', {
          operation: call.route.operation,
          retryAfterMs: Math.ceil(waitMs),
          reason: 'not called, to keep within the limits of the exchange'
        })
      }
      await sleep(this.#timers, Math.ceil(waitMs), signal)
    }
  }

  /** Sends the request and reads its answer; a `Failure` when there is none in time, or none that can be read. */
  async #answerWithinTime({ call, deadline, signal }: PendingCall): Promise<Answer | Failure> {
    if (signal?.aborted) {
      this.#budget.settle(call.route.costs, call.budgetKey ?? '', null)
      throw signal.reason
    }
    const request = new AbortController()
    const attemptMs = call.route.attemptMs ?? this.#gateway.attemptMs ?? DEFAULT_ATTEMPT_MS
    const limitMs = Math.min(attemptMs, deadline - this.#monotonic())
    try {
      const answer = this.#send(call, request.signal)
      return await withDeadline(signal ? unlessAborted(answer, signal) : answer, Math.max(1, limitMs))
    } catch (err) {
      request.abort()
      if (signal?.aborted) throw signal.reason
      const failure = failureWithoutAnswer(err)
      if (failure === null) throw err
      const { code, ...details } = failure
      const error = this.#error(code, { operation: call.route.operation, ...details })
      return { error, retryable: true, outage: true }
    }
  }

  async #send(call: ReadCall<unknown>, signal: AbortSignal): Promise<Answer> {
    const head = await this.#headOf(call, signal)
    return await readAnswer(head, call.rows)
  }

  async #headOf(call: ReadCall<unknown>, signal: AbortSignal): Promise<AnswerHead> {
    let head: AnswerHead | null = null
    try {
      head = await sendRequest(this.#gateway.dispatcher, this.#requestOf(call, signal), this.#now)
      this.#latencyMs = head.tookMs
      this.#skew.correctByDateHeader(head.header('date'), head.askedAt, head.tookMs)
      return head
    } finally {
      // A refusal may come from the network in front of the exchange, which reports nothing.
      const usage = head === null ? null : (this.#host.usage?.read(head.header) ?? null)
      const isKnown = usage !== null || head?.status === 200
      const report = isKnown ? { usage, hostTime: this.#skew.hostTime(this.#now()) } : null
      this.#budget.settle(call.route.costs, call.budgetKey ?? '', report)
    }
  }

  #requestOf(call: ReadCall<unknown>, signal: AbortSignal) {
    const { method, path } = call.route
    const signed = call.sign?.(this.#skew.hostTime(this.#now()))
    const query = signed?.query ?? call.query ?? ''
    const prefix = this.#url.pathname.replace(/\/+$/, '')
    return {
      origin: this.#url.origin,
      method,
      path: `${prefix}${path}${query === '' ? '' : `?${query}`}`,
      headers: { ...call.headers, ...signed?.headers },
      signal
    }
  }

  /** Null when the answer is not a refusal. */
  #refusalFailure({ call, deadline }: PendingCall, answer: Answer): Failure | null {
    const refusal = refusalByText(answer) ?? this.#host.refusalOf(answer) ?? refusalByStatus(answer.status)
    if (refusal === null) {
      this.#lastSuccessAt = this.#now()
      return null
    }
    const { code, exchangeCode } = refusal
    const details = { operation: call.route.operation, exchangeCode }
    if (code === 'rate_limited') {
      const retryAfterMs = this.#blockCalls(answer, refusal, call.budgetKey)
      const retryable = this.#monotonic() + retryAfterMs < deadline
      return { error: this.#error(code, { ...details, retryAfterMs }), retryable, outage: false }
    }
    const retryable = code === 'unavailable' || code === 'timeout'
    // Each further call would be refused as well: the circuit makes one per minute.
    const outage = retryable || code === 'location_refused'
    return { error: this.#error(code, details), retryable, outage }
  }

  /**
   * Blocks all calls, or those of the key that was refused, for as long as the exchange demands, at most seven days.
   * Returns for how long.
   */
  #blockCalls(answer: Answer, refusal: Refusal, key: string | undefined): Millis {
    const penaltyMs = Math.min(Math.max(this.#statedPauseMs(answer, refusal), 0), MAX_PENALTY_MS)
    if (refusal.scope === 'key' && key !== undefined) {
      this.#budget.blockKeyFor(key, penaltyMs)
      return penaltyMs
    }
    const until = this.#budget.blockFor(penaltyMs)
    if (until !== null && penaltyMs > BAN_FROM_MS) {
      this.#gateway.onBan?.({
        exchange: this.#gateway.exchange,
        host: this.id,
        exchangeCode: refusal.exchangeCode,
        endsInMs: () => until - this.#monotonic(),
        stored: () => this.#budget.releaseBlock(until)
      })
    }
    return penaltyMs
  }

  #statedPauseMs(answer: Answer, { retryAfterMs, retryAt }: Refusal): Millis {
    const hostTime = this.#skew.hostTime(this.#now())
    const header = parseRetryAfter(answer.header('retry-after'), hostTime)
    const stated = [retryAfterMs, retryAt === undefined ? null : retryAt - hostTime, header]
    const known = stated.filter(ms => typeof ms === 'number')
    return known.length === 0 ? DEFAULT_PENALTY_MS : Math.max(...known)
  }

  #circuitOpen(operation: string): ExchangeError {
    const retryAfterMs = Math.ceil(this.#circuit.retryAfterMs)
    return this.#error('unavailable', { operation, retryAfterMs, reason: 'not called, it failed repeatedly just now' })
  }

  #error(code: ExchangeErrorCode, details: ErrorDetails): ExchangeError {
    return new ExchangeError(code, { ...details, exchange: this.#gateway.exchange })
  }

  /** Keeps the error for `status`, unless it is about an order or a symbol. Returns it. */
  #recordError(error: ExchangeError): ExchangeError {
    if (error.code !== 'order_not_found' && error.code !== 'bad_symbol') this.#lastError = { at: this.#now(), error }
    return error
  }
}
