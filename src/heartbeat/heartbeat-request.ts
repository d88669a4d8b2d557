// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { Dispatcher } from 'undici'
import { SECOND } from '../async/durations.ts'
import { sleep, systemTimers, type Timers } from '../async/timers.ts'
import { callForStatus, HttpCallError } from '../http-call.ts'
import type { HeartbeatOutcome } from './heartbeat-store.ts'

const DEADLINE_MS = 10 * SECOND
const RETRY_AFTER_MS = 2 * SECOND
/** The path of a push monitor of Uptime Kuma, which has no path for a failure. */
const UPTIME_KUMA = /\/api\/push\/[^/]+\/?$/

/** What is sent for a state. The URL may be a secret. */
interface HeartbeatRequest {
  url: string
  method: 'GET' | 'POST'
  body?: string
}

/**
 * The request for a state of the cluster: a POST to the address, or to `/fail` below its path with the reason as its body,
 * as healthchecks.io reads it. Uptime Kuma, known by the path `/api/push/`, gets the state in its query. Other parts of the
 * query remain.
 * @param reason why the cluster is not healthy; null while it is
 */
export function heartbeatRequest(url: string, reason: string | null): HeartbeatRequest {
  const target = new URL(url)
  if (UPTIME_KUMA.test(target.pathname)) {
    target.searchParams.set('status', reason === null ? 'up' : 'down')
    target.searchParams.set('msg', reason ?? 'OK')
    return { url: target.href, method: 'GET' }
  }
  if (reason !== null) target.pathname = `${target.pathname.replace(/\/$/, '')}/fail`
  return { url: target.href, method: 'POST', body: reason ?? 'OK' }
}

export interface HeartbeatCall {
  url: string
  reason: string | null
  dispatcher: Dispatcher
  signal: AbortSignal
  timers?: Timers
}

/** How a request ended, and for the log the status of its answer, or why it had none. */
export interface HeartbeatEnd {
  outcome: HeartbeatOutcome
  status?: number
  reason?: string
}

/**
 * Sends a heartbeat, and once more when the receiver cannot be reached. Each attempt ends within 10 s. Redirects are not
 * followed. The result does not contain the URL.
 * @throws {HttpCallError} `ABORTED` when `signal` is aborted
 */
export async function sendHeartbeat(call: HeartbeatCall): Promise<HeartbeatEnd> {
  const { signal, timers = systemTimers } = call
  const first = await attempt(call)
  if (first.outcome !== 'unreachable') return first
  await sleep(timers, RETRY_AFTER_MS, signal).catch(() => {
    throw new HttpCallError('ABORTED')
  })
  return attempt(call)
}

async function attempt({ url, reason, dispatcher, signal, timers }: HeartbeatCall): Promise<HeartbeatEnd> {
  const request = heartbeatRequest(url, reason)
  const headers = { 'content-type': 'text/plain' }
  const options = { ...request, headers, dispatcher, deadlineMs: DEADLINE_MS, signal, ...(timers && { timers }) }
  try {
    const { status } = await callForStatus(options)
    return { outcome: outcomeOf(status), status }
  } catch (err) {
    if (!(err instanceof HttpCallError) || err.reason === 'ABORTED') throw err
    return { outcome: 'unreachable', reason: err.reason }
  }
}

function outcomeOf(status: number): HeartbeatOutcome {
  if (status >= 200 && status < 300) return 'ok'
  return status >= 500 || status === 429 || status === 408 ? 'unreachable' : 'rejected'
}
