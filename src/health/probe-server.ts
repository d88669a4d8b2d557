// @FEAT:health-monitoring @COMP:service @TYPE:core
import { createServer, type Server } from 'node:http'
import { errorBody } from '../errors.ts'
import { languageOf } from '../messages.ts'
import { isProbePath, type ProbeAnswer, type ProbePath, probes } from './probes.ts'
import type { Snapshot } from './state.ts'

export interface ProbeServerOptions {
  answer: (path: ProbePath, snapshot: Snapshot, nowMs: number) => ProbeAnswer
  snapshot: () => Snapshot
  /** Settles when the database verdict is as good as it gets. */
  ask: () => Promise<void>
  /** Whether the verdict is good as it stands, so that nobody has to wait. */
  isFresh: () => boolean
  /** Told each answer, and the time from its request to it in milliseconds. */
  count: (path: ProbePath, status: ProbeAnswer['status'], ms: number) => void
}

/** A client that sends its headers slower than this, in milliseconds, is let go. */
const HEADERS_TIMEOUT_MS = 10_000
/** Longer than load balancers keep an idle connection, so that they close it and never meet a closing one. */
const KEEP_ALIVE_MS = 75_000

/**
 * The server of the probe port: the five probe routes, everything else is 404. It reads nothing of a request but its
 * method and path.
 */
export function createProbeServer({ answer, snapshot, ask, isFresh, count }: ProbeServerOptions): Server {
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_TIMEOUT_MS },
    (request, response) => {
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
      const askedMs = performance.now()
      const reply = () => {
        const { status, body } = answer(path, snapshot(), Date.now())
        send(status, body)
        count(path, status, performance.now() - askedMs)
      }
      if (!probes[path].database || isFresh()) reply()
      else void ask().then(reply)
    }
  )
  return server
}

function pathOf(url = ''): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}
