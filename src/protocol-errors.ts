import { type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { errorHeaders } from './error-headers.ts'
import { catalogue, type ErrorCode, errorBody } from './errors.ts'
import { type Language, languageOf } from './messages.ts'
import { hasBody } from './request-body.ts'

/** The error of the catalogue for each error of Node's HTTP parser, by Node's code. */
const codes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT'
}

interface Exchange {
  request: IncomingMessage
  response: ServerResponse
}

/** The last request with a body of each connection, until it is complete and answered. Others are complete at once. */
const exchanges = new WeakMap<Duplex, Exchange>()

/**
 * Answers what is not valid HTTP, and ends the connection. There is no request object, so the answer is written to the
 * socket directly. A request that has an answer already, such as one whose body is malformed, gets no
 * second one.
 */
export function answerClientError(err: NodeJS.ErrnoException & { rawPacket?: unknown }, socket: Duplex): void {
  const last = exchanges.get(socket)
  const { request, response } = last && !last.request.complete ? last : {}
  if (err.code === 'ECONNRESET' || !socket.writable || response?.headersSent || isBeingAnswered(socket)) {
    socket.destroy()
    return
  }
  // Where no part of the request was accepted, its method and its language are read from its text.
  const text = Buffer.isBuffer(err.rawPacket) ? err.rawPacket.toString('latin1') : ''
  const language = languageOf(request?.headers['accept-language'] ?? /^accept-language:(.*)$/im.exec(text)?.[1]?.trim())
  const isHead = request ? request.method === 'HEAD' : text.startsWith('HEAD ')
  socket.end(rawAnswer(codes[err.code ?? ''] ?? 'BAD_REQUEST', language, isHead))
  // What the client still sends is read: closing with unread data would reset the connection before it has the answer.
  // `HttpConnections` closes it when the client does not.
  socket.resume()
}

/** Whether a part of an answer was sent, as Node's own listener finds out: of several requests, the first that has no end. */
function isBeingAnswered(socket: Duplex): boolean {
  const response: unknown = Reflect.get(socket, '_httpMessage')
  return response instanceof ServerResponse && response.headersSent
}

function rawAnswer(code: ErrorCode, language: Language, isHead: boolean): string {
  const status = catalogue[code]
  const body = JSON.stringify(errorBody(code, language))
  const headers = {
    ...errorHeaders(),
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    date: new Date().toUTCString(),
    connection: 'close'
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', isHead ? '' : body].join('\r\n')
}

/**
 * Answers with the error envelope where Node answers without a body or closes the connection. An expectation that Node
 * does not know is ignored, which HTTP permits. Call it once per server, with `answerClientError` as its listener of
 * `clientError`.
 */
export function answerProtocolErrors(server: Server): void {
  server.prependListener('request', (request, response) => {
    if (!hasBody(request)) return
    const { socket } = request
    exchanges.set(socket, { request, response })
    response.once('close', () => {
      if (request.complete && exchanges.get(socket)?.request === request) exchanges.delete(socket)
    })
  })
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('connect', (_request, socket) => answerClientError(new Error('CONNECT is not supported'), socket))
}

/** Option of a server that answers a request without `Host` itself: Node's own answer has no body. */
export const ownHostCheck = { requireHostHeader: false }

/** Whether HTTP requires a `Host` header that the request lacks. */
export function lacksHost({ httpVersion, headers }: Pick<IncomingMessage, 'httpVersion' | 'headers'>): boolean {
  return httpVersion === '1.1' && headers.host === undefined
}
