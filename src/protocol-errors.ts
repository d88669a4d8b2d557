import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { catalogue, type ErrorCode, errorBody } from './errors.ts'

/** The error of the catalogue for each error of Node's HTTP parser, by Node's code. */
const codes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT'
}

/** Answers what is not valid HTTP. There is no request object, so the answer is written to the socket directly. */
export function answerClientError(err: NodeJS.ErrnoException, socket: Duplex): void {
  if (err.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const code = codes[err.code ?? ''] ?? 'BAD_REQUEST'
  const status = catalogue[code]
  const body = JSON.stringify(errorBody(code, 'ko'))
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Content-Type: application/json; charset=utf-8',
      'Cache-Control: no-store',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      '',
      body
    ].join('\r\n')
  )
}

/**
 * Answers with the error envelope where Node answers without a body or closes the connection. An expectation that Node
 * does not know is ignored, which HTTP permits.
 */
export function answerProtocolErrors(server: Server): void {
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('connect', (_request, socket) => answerClientError(new Error('CONNECT is not supported'), socket))
}

/** Option of a server that answers a request without `Host` itself: Node's own answer has no body. */
export const ownHostCheck = { requireHostHeader: false }

/** Whether HTTP requires a `Host` header that the request lacks. */
export function lacksHost({ httpVersion, headers }: Pick<IncomingMessage, 'httpVersion' | 'headers'>): boolean {
  return httpVersion === '1.1' && headers.host === undefined
}
