// @FEAT:health-monitoring @COMP:service @TYPE:core
import { createServer, type Server } from 'node:http'
import { errorBody } from '../errors.ts'
import { languageOf } from '../messages.ts'
import { isProbePath, type ProbeAnswer, type ProbePath, probes } from './probes.ts'
import type { Snapshot } from './shared-state.ts'

export interface ProbeServerOptions {
  /** How long an idle connection stays open, in milliseconds. */
  keepAliveMs: number
  answer: (path: ProbePath, snapshot: Snapshot, nowMs: number) => ProbeAnswer
  snapshot: () => Snapshot
  /** Resolves when the database verdict is fresh, or will not be within the deadline. Never rejects. */
  refresh: () => Promise<void>
  /** Whether the database verdict can be used without `refresh`. */
  isFresh: () => boolean
  /** Records each answer with the time from its request. */
  record: (path: ProbePath, status: ProbeAnswer['status'], durationMs: number) => void
}

/** The connection of a client that sends its headers more slowly than this is closed. */
const HEADERS_TIMEOUT_MS = 10_000

/**
 * The server of the probe port: the five probe routes, everything else is answered 404. It reads only the method, the
 * path and the language of a request. The caller makes it listen.
 */
export function createProbeServer({
  answer,
  snapshot,
  refresh,
  isFresh,
  record,
  keepAliveMs
}: ProbeServerOptions): Server {
  return createServer({ keepAliveTimeout: keepAliveMs, headersTimeout: HEADERS_TIMEOUT_MS }, (request, response) => {
    const send = (status: number, body: string) => {
      response.writeHead(status, [
        'Content-Type',
        'application/json; charset=utf-8',
        'Cache-Control',
        'no-store',
        'Content-Length',
        String(Buffer.byteLength(body))
      ])
      response.end(request.method === 'HEAD' ? undefined : body)
    }
    const path = pathOf(request.url)
    if ((request.method !== 'GET' && request.method !== 'HEAD') || !isProbePath(path)) {
      send(404, JSON.stringify(errorBody('NOT_FOUND', languageOf(request.headers['accept-language']))))
      return
    }
    const receivedMs = performance.now()
    const reply = () => {
      const { status, body } = answer(path, snapshot(), Date.now())
      send(status, body)
      record(path, status, performance.now() - receivedMs)
    }
    if (!probes[path].database || isFresh()) reply()
    else void refresh().then(reply)
  })
}

function pathOf(url = ''): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}
