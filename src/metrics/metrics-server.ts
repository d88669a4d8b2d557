// @FEAT:health-monitoring @COMP:service @TYPE:core
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { ACCEPT_BACKLOG, type HttpConnections, requestDeadlines } from '../connections/http-connections.ts'
import { errorHeaders } from '../error-headers.ts'
import { catalogue, type ErrorCode, errorBody } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { languageOf } from '../messages.ts'
import { answerClientError, answerProtocolErrors, lacksHost, ownHostCheck } from '../protocol-errors.ts'
import { requestPath } from '../request-target.ts'
import { portError } from '../start-error.ts'

export interface MetricsServerOptions {
  host: string
  /** Where the host comes from, for errors. */
  hostSetting: 'HOST' | 'METRICS_HOST'
  /** 0 for any free port. */
  port: number
  log: Log
  /** Limits the connections of the server, which ends them when it closes. */
  connections: HttpConnections
  /** Returns the metrics as text, with the content type. */
  render: () => Promise<{ type: string; text: string }>
}

/** The connection of a client that sends its request more slowly than this is closed. */
const REQUEST_TIMEOUT_MS = 10_000
const ALLOWED = 'GET, HEAD, OPTIONS'

/** The server of the metrics port: `GET`, `HEAD` and `OPTIONS` of `/metrics`; everything else is an error. */
export class MetricsServer {
  readonly #options: MetricsServerOptions
  readonly #server: Server
  #rendering: ReturnType<MetricsServerOptions['render']> | undefined

  constructor(options: MetricsServerOptions) {
    this.#options = options
    this.#server = createServer({ ...ownHostCheck, ...requestDeadlines(REQUEST_TIMEOUT_MS) }, (request, response) => {
      const language = languageOf(request.headers['accept-language'])
      const refuse = (code: ErrorCode) => {
        for (const [name, value] of Object.entries(errorHeaders())) response.setHeader(name, value)
        send(response, catalogue[code], JSON.stringify(errorBody(code, language)))
      }
      const path = requestPath(request.url ?? '')
      if (path === undefined || lacksHost(request)) return refuse('BAD_REQUEST')
      if (path !== '/metrics') return refuse('NOT_FOUND')
      if (request.method === 'OPTIONS') {
        response.writeHead(204, { ...errorHeaders(), allow: ALLOWED }).end()
      } else if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', ALLOWED)
        refuse('METHOD_NOT_ALLOWED')
      } else void this.#answer(response, () => refuse('INTERNAL_ERROR'))
    })
    this.#server.on('clientError', answerClientError)
    answerProtocolErrors(this.#server)
    options.connections.attach(this.#server)
    // A connection that cannot be accepted, as there is no free descriptor, affects one client only.
    this.#server.on('error', err => this.#options.log.debug({ err }, 'metrics port failed'))
  }

  /**
   * Starts to listen.
   * @returns the port
   * @throws {StartError} when it cannot listen
   */
  async listen(): Promise<number> {
    const { host, hostSetting, port } = this.#options
    try {
      await once(this.#server.listen({ host, port, backlog: ACCEPT_BACKLOG }), 'listening')
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'UNKNOWN'
      throw portError({ setting: 'METRICS_PORT', port, hostSetting, host }, code, cause)
    }
    const address = this.#server.address()
    return typeof address === 'object' && address ? address.port : port
  }

  /** Stops listening and closes every connection. Idempotent. */
  close(): void {
    this.#server.close()
    this.#options.connections.destroy()
  }

  /** One for all requests that come meanwhile: a client may send many at once. */
  #render(): ReturnType<MetricsServerOptions['render']> {
    this.#rendering ??= this.#options.render().finally(() => {
      this.#rendering = undefined
    })
    return this.#rendering
  }

  async #answer(response: ServerResponse, fail: () => void): Promise<void> {
    try {
      const { type, text } = await this.#render()
      send(response, 200, text, type)
    } catch (err) {
      this.#options.log.error({ err }, 'metrics not rendered')
      fail()
    }
  }
}

/** Node leaves out the body of an answer to HEAD. */
function send(response: ServerResponse, status: number, body: string, type = 'application/json; charset=utf-8'): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body)
  })
  response.end(body)
}
