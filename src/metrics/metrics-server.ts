// @FEAT:health-monitoring @COMP:service @TYPE:core
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { catalogue, type ErrorCode, errorBody } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { languageOf } from '../messages.ts'
import { portError } from '../start-error.ts'

export interface MetricsServerOptions {
  host: string
  /** Where the host comes from, for errors. */
  hostSetting: 'HOST' | 'METRICS_HOST'
  /** 0 for any free port. */
  port: number
  log: Log
  /** Returns the metrics as text, with the content type. */
  render: () => Promise<{ type: string; text: string }>
}

/** The connection of a client that sends its request more slowly than this is closed. */
const REQUEST_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 32

/** The server of the metrics port: `GET` and `HEAD` of `/metrics`; everything else is an error. */
export class MetricsServer {
  readonly #options: MetricsServerOptions
  readonly #server: Server

  constructor(options: MetricsServerOptions) {
    this.#options = options
    this.#server = createServer(
      { headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => {
        const refuse = (code: ErrorCode) =>
          send(
            response,
            catalogue[code],
            JSON.stringify(errorBody(code, languageOf(request.headers['accept-language'])))
          )
        if (request.url?.split('?', 1)[0] !== '/metrics') refuse('NOT_FOUND')
        else if (request.method !== 'GET' && request.method !== 'HEAD') {
          response.setHeader('allow', 'GET, HEAD')
          refuse('METHOD_NOT_ALLOWED')
        } else void this.#answer(response, () => refuse('INTERNAL_ERROR'))
      }
    )
    this.#server.maxConnections = MAX_CONNECTIONS
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
      await once(this.#server.listen({ host, port }), 'listening')
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
    this.#server.closeAllConnections()
  }

  async #answer(response: ServerResponse, fail: () => void): Promise<void> {
    try {
      const { type, text } = await this.#options.render()
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
