// @FEAT:health-monitoring @COMP:service @TYPE:core
import { createServer, type Server } from 'node:http'
import { errorBody } from '../errors.ts'
import { languageOf } from '../messages.ts'
import { isProbePath, type ProbeAnswer, type ProbePath, probes } from './probes.ts'
import type { Snapshot } from './shared-state.ts'

export interface ProbeServerOptions {
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
/** Longer than load balancers keep an idle connection, so that they close it and never send a request on a closing one. */
const KEEP_ALIVE_MS = 75_000

/**
 * The server of the probe port: the five probe routes, everything else is answered 404. It reads only the method, the
 * path and the language of a request. The caller makes it listen.
 */
export function createProbeServer({ answer, snapshot, refresh, isFresh, record }: ProbeServerOptions): Server {
  return createServer({ keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_TIMEOUT_MS }, (request, response) => {
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
