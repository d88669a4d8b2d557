// @FEAT:exchanges @COMP:service @TYPE:helper
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { Millis } from '../../domain/millis.ts'
import type { Cost } from './rate-budget.ts'
import type { RowReader } from './row-reader.ts'

/** One endpoint of an exchange. Routes only read: that is why every call may be repeated. */
export interface Route {
  /** The operation of `ExchangeClient` that the route serves. Errors name it. */
  operation: string
  method: 'GET'
  path: string
  /** What one call takes from each rate limit of the host. */
  costs: readonly Cost[]
  /** `account`: signed with the credentials of an account, and counted for its API key. */
  signing: 'none' | 'account'
  /** Bound on one attempt, for a large answer. Default that of the gateway. */
  attemptMs?: Millis
}

/** One call of a route, with all that its attempts need. */
export interface ReadCall<T> {
  route: Route
  /** Encoded, without `?`. Default none. */
  query?: string
  /** The API key whose limits count. Default none, for calls that are not signed. */
  budgetKey?: string
  headers?: Readonly<Record<string, string>>
  /** Signs one attempt. `at` is the time by the clock of the exchange. */
  sign?: (at: Millis) => SignedParts
  /** Makes the reader for the rows of one attempt. Without it the whole answer is read into `body`. */
  rows?: () => RowReader
  /** May throw `UnreadableAnswer`, which becomes `invalid_answer`, or an `ExchangeError`. */
  read: (answer: Answer) => T
}

/** The parts of a request that a signature changes. */
export interface SignedParts {
  query: string
  headers: Readonly<Record<string, string>>
}

/** Reads the header with this lower-case name: its first value, null when it is absent. */
export type HeaderReader = (name: string) => string | null

/** An answer of an exchange, read losslessly. */
export interface Answer {
  status: number
  /** Every number in it is the text that the exchange wrote. For a call with `rows`, the envelope without the rows. */
  body: unknown
  /** The beginning of a body that is not JSON, of a refusal; null for all others. */
  page: string | null
  header: HeaderReader
  /** By the clock of this machine, the middle between request and answer. */
  askedAt: Millis
}

/** A refusal of an exchange, in the terms of this service. */
export interface Refusal {
  code: ExchangeErrorCode
  exchangeCode: string | null
  /** How long no call may be made, at least: the header Retry-After may state a longer time. Default 5,000 without both. */
  retryAfterMs?: Millis | null
  /** Until when no call may be made, by the exchange's clock. Of several ends the latest counts. */
  retryAt?: Millis
  /** `key`: a signed call was refused because of a limit of its API key; calls of other keys go on. Default `address`. */
  scope?: 'address' | 'key'
}
