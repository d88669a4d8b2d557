// @FEAT:health-monitoring @COMP:service @TYPE:core
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type HttpConnections, requestDeadlines } from '../connections/http-connections.ts'
import { errorHeaders } from '../error-headers.ts'
import { catalogue, type ErrorCode, errorBody } from '../errors.ts'
import { languageOf } from '../messages.ts'
import { answerClientError, answerProtocolErrors, lacksHost, ownHostCheck } from '../protocol-errors.ts'
import { requestPath } from '../request-target.ts'
import { isProbePath, type ProbeAnswer, type ProbePath, probes } from './probes.ts'
import type { Snapshot } from './shared-state.ts'

export interface ProbeServerOptions {
  /** How long an idle connection stays open, in milliseconds. */
  keepAliveMs: number
  /** Limits the connections of the server. The caller ends them. */
  connections: HttpConnections
  answer: (path: ProbePath, snapshot: Snapshot, nowMs: number) => ProbeAnswer
  snapshot: () => Snapshot
  /** Resolves when the database verdict is fresh, or will not be within the deadline. Never rejects. */
  refresh: () => Promise<void>
  /** Whether the database verdict can be used without `refresh`. */
  isFresh: () => boolean
  /** Records each answer with the time from its request. */
  record: (path: ProbePath, status: ProbeAnswer['status'], durationMs: number) => void
}

/** The connection of a client that sends its request more slowly than this is closed. */
const REQUEST_TIMEOUT_MS = 10_000

/** The methods of every probe route. */
const ALLOWED = 'GET, HEAD, OPTIONS'

/**
 * The server of the probe port: the five probe routes, everything else is an error. It accepts the targets and methods
 * that the main port accepts. It reads only the method, the path and the language of a request. The caller makes it
 * listen.
 */
export function createProbeServer(options: ProbeServerOptions): Server {
  const { answer, snapshot, refresh, isFresh, record, keepAliveMs, connections } = options
  const settings = { ...ownHostCheck, keepAliveTimeout: keepAliveMs, ...requestDeadlines(REQUEST_TIMEOUT_MS) }
  const server = createServer(settings, (request, response) => {
    const { url = '' } = request
    // Most targets are a path of the table as it is: reading a target costs as much as the rest of the answer.
    const path = isProbePath(url) ? url : requestPath(url)
    if (path === undefined || lacksHost(request)) return refuse(request, response, 'BAD_REQUEST')
    if (!isProbePath(path)) return refuse(request, response, 'NOT_FOUND')
    if (request.method === 'OPTIONS') {
      response.writeHead(204, { ...errorHeaders(), allow: ALLOWED }).end()
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(request, response, 'METHOD_NOT_ALLOWED')
    const receivedMs = performance.now()
    const reply = () => {
      const { status, body } = answer(path, snapshot(), Date.now())
      send(request, response, status, body)
      record(path, status, performance.now() - receivedMs)
    }
    if (!probes[path].database || isFresh()) reply()
    else void refresh().then(reply)
  })
  connections.attach(server)
  server.on('clientError', answerClientError)
  answerProtocolErrors(server)
  return server
}

function refuse(request: IncomingMessage, response: ServerResponse, code: ErrorCode): void {
  if (code === 'METHOD_NOT_ALLOWED') response.setHeader('Allow', ALLOWED)
  send(
    request,
    response,
    catalogue[code],
    JSON.stringify(errorBody(code, languageOf(request.headers['accept-language']))),
    Object.entries(errorHeaders()).flat()
  )
}

/** @param headers names and values, in turn */
function send(
  { method }: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: string,
  headers: readonly string[] = ['Cache-Control', 'no-store']
): void {
  const length = String(Buffer.byteLength(body))
  response.writeHead(status, ['Content-Type', 'application/json; charset=utf-8', ...headers, 'Content-Length', length])
  response.end(method === 'HEAD' ? undefined : body)
}
