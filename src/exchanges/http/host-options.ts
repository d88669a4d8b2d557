// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Dispatcher } from 'undici'
import type { Timers } from '../../async/timers.ts'
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { ExchangeName } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { Answer, HeaderReader, ReadCall, Refusal } from './exchange-call.ts'
import type { RateLimit, Usage } from './rate-budget.ts'

/** What all hosts of an exchange share. */
export interface GatewayOptions {
  exchange: ExchangeName
  /** The shared agent. Its owner closes it. */
  dispatcher: Dispatcher
  /** Bound on one call with all its attempts unless the caller sets one. Default 10,000. */
  deadlineMs?: number
  /** Bound on one attempt. Default 5,000. */
  attemptMs?: number
  /** Our wall clock. Default `Date.now`. */
  now?: () => Millis
  /** A clock in ms that never goes back. Default `performance.now`. */
  monotonic?: () => number
  /** The timers of waits for limits and between attempts. Default `systemTimers`. */
  timers?: Timers
  /** How many replicas share the limits of our address, this one included. Read before each call. Default 1. */
  replicas?: () => number
  /** From 0 to 1, 1 excluded: the share of the longest back-off that is waited. Default `Math.random`. */
  random?: () => number
  /** Called at the end of each call, for metrics. */
  onCall?: (end: ExchangeCallEnd) => void
  /** Called when an exchange demands that our address makes no call for more than 5 s. Must return at once, not throw. */
  onBan?: (ban: HostBan) => void
}

/** A ban of our address that a host of an exchange stated. */
interface HostBan {
  exchange: ExchangeName
  /** The id of the host, without any key. */
  host: string
  exchangeCode: string | null
  /** Milliseconds until its end, now; at most seven days when it was stated. */
  endsInMs: () => Millis
  /** Ends this ban in the memory of the host, because `blockClusterFor` applies it from now on. */
  stored: () => void
}

/** How a call ended. */
export interface ExchangeCallEnd {
  exchange: ExchangeName
  /** `aborted`: the caller aborted it; `internal`: a fault of this service. */
  outcome: 'ok' | ExchangeErrorCode | 'aborted' | 'internal'
  /** With all waits and attempts. */
  durationMs: number
}

export interface HostOptions {
  /** Identifies the host among those of its exchange. Default the base URL. */
  id?: string
  /** Root of the API. A path in it is put before the path of every route. */
  baseUrl: string
  limits: readonly RateLimit[]
  /** What the exchange means by an answer; null when it is not a refusal. Takes precedence over the HTTP status. */
  refusalOf: (answer: Answer) => Refusal | null
  /** Reads the exchange's clock. */
  clock: ReadCall<Millis>
  /** How the exchange reports what is used of its limits. Default not at all. */
  usage?: UsageSource
}

/** The headers in which an exchange reports what is used of its limits. */
export interface UsageSource {
  /** The limits that it reports. */
  limits: readonly string[]
  /** Null when the answer has no such header. */
  read: (header: HeaderReader) => Usage | null
}
