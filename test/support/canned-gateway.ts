/** An exchange without a network: its answers are texts, and the requests of an adapter are recorded. */
import { Agent } from 'undici'
import type { ExchangeName } from '../../src/domain/market.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { parseLossless, UnreadableAnswer } from '../../src/exchanges/http/answer-fields.ts'
import type { Answer, ReadCall, Refusal } from '../../src/exchanges/http/exchange-call.ts'
import { ExchangeGateway } from '../../src/exchanges/http/exchange-gateway.ts'
import { ExchangeHost } from '../../src/exchanges/http/exchange-host.ts'
import type { GatewayOptions, HostOptions } from '../../src/exchanges/http/host-options.ts'

/** The time for which requests are signed. */
const SIGNED_AT = 1_700_000_000_000

/** The body of an answer with status 200, or the whole answer. Bodies other than texts are written as JSON. */
export type CannedAnswer = { status: number; body: unknown; headers?: Record<string, string> }

/** The answer to a request by its path and its signed query. */
export type Answers = (path: string, query: string) => CannedAnswer | undefined

/** A recorded request of the adapter. */
export interface RecordedCall {
  operation: string
  path: string
  query: string
  costs: string
  budgetKey: string | undefined
  headers: Readonly<Record<string, string>>
}

/** Answers with status 200 and the body of each path; `undefined` for other paths. */
export function bodies(byPath: Readonly<Record<string, unknown>>): Answers {
  return path => (Object.hasOwn(byPath, path) ? { status: 200, body: byPath[path] } : undefined)
}

/** A gateway whose hosts give these answers. */
export class CannedGateway extends ExchangeGateway {
  readonly hosts: HostOptions[] = []
  readonly calls: RecordedCall[] = []
  /** May be replaced between two calls. */
  answers: Answers
  readonly #options: GatewayOptions

  constructor(exchange: ExchangeName, answers: Answers = () => undefined) {
    const options = { exchange, dispatcher: new Agent() }
    super(options)
    this.#options = options
    this.answers = answers
  }

  override host(options: HostOptions): ExchangeHost {
    this.hosts.push(options)
    return new CannedHost(this, this.#options, options)
  }

  /** Paths and queries of the calls so far. */
  requests(): string[] {
    return this.calls.map(({ path, query }) => (query === '' ? path : `${path}?${query}`))
  }

  /** The error that the adapter returns for an answer. Numbers are read as texts, as in the gateway. */
  refusalOf(body: unknown, { status = 200, headers = {} }: Partial<CannedAnswer> = {}): Refusal | null {
    const [host] = this.hosts
    if (host === undefined) throw new Error('no client was made')
    return host.refusalOf(answerOf({ status, headers, body }, textOf(body)))
  }
}

class CannedHost extends ExchangeHost {
  readonly #gateway: CannedGateway
  readonly #host: HostOptions

  constructor(gateway: CannedGateway, options: GatewayOptions, host: HostOptions) {
    super(options, host)
    this.#gateway = gateway
    this.#host = host
  }

  override async call<T>(call: ReadCall<T>): Promise<T> {
    const { exchange } = this.#gateway
    const { route, budgetKey, headers } = call
    const { operation, path, costs } = route
    const signed = call.sign?.(SIGNED_AT)
    const query = signed?.query ?? call.query ?? ''
    this.#gateway.calls.push({
      operation,
      path,
      query,
      costs: costs.map(({ limit, weight }) => `${weight} ${limit}`).join(', '),
      budgetKey,
      headers: { ...headers, ...signed?.headers }
    })
    const canned = this.#gateway.answers(path, query)
    if (canned === undefined) throw new Error(`no answer for ${path}?${query}`)
    const text = textOf(canned.body)
    const reader = canned.status === 200 ? call.rows?.() : undefined
    reader?.push(Buffer.from(text))
    const answer = answerOf(canned, reader?.end() ?? text)
    const refusal = this.#host.refusalOf(answer)
    if (refusal !== null) throw new ExchangeError(refusal.code, { exchange, operation, ...refusal })
    try {
      return call.read(answer)
    } catch (err) {
      if (!(err instanceof UnreadableAnswer)) throw err
      throw new ExchangeError('invalid_answer', { exchange, operation, reason: err.message, cause: err })
    }
  }

  override get now(): number {
    return SIGNED_AT
  }

  override async serverTime(): Promise<number> {
    return await this.call(this.#host.clock)
  }
}

function textOf(body: unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(body)
}

function answerOf({ status, headers = {} }: CannedAnswer, text: string): Answer {
  return { status, body: parseLossless(text), page: null, header: name => headers[name] ?? null, askedAt: SIGNED_AT }
}
