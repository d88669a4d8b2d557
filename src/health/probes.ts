// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Snapshot } from './shared-state.ts'
import { databaseCheck, notReady, notStarted } from './verdict.ts'

/** The public probe routes, and whether the answer depends on the database check. */
export const probes = {
  '/health': { database: true },
  '/health/ready': { database: true },
  '/health/live': { database: false },
  '/health/startup': { database: true },
  '/api/system/health': { database: true }
} as const

export type ProbePath = keyof typeof probes

export interface ProbeAnswer {
  status: 200 | 503
  /** JSON text. */
  body: string
}

export interface ProbeSettings {
  /** The value of `service` in the answer of `/health`. */
  service: string
  /** Age of the main loop's heartbeat from which liveness fails, in milliseconds. */
  stallMs: number
}

/** Whether a path is one of the probe routes. */
export function isProbePath(path: string): path is ProbePath {
  return Object.hasOwn(probes, path)
}

/**
 * Returns the function that makes the answers of both ports, the only place that has the bodies.
 * @returns a pure function of the route, the state of the replica, and the time in milliseconds since the epoch
 */
export function probeAnswers({ service, stallMs }: ProbeSettings) {
  const name = JSON.stringify(service)
  const stamp = timestamps()

  const answers: Record<ProbePath, (snapshot: Snapshot, timestamp: string) => ProbeAnswer> = {
    '/health': (snapshot, timestamp) => {
      const database = databaseCheck(snapshot)
      const status = database === 'ok' ? 'healthy' : 'unhealthy'
      return answer(
        database === 'ok',
        `{"status":"${status}","timestamp":"${timestamp}","database":"${status}","service":${name}}`
      )
    },
    '/health/ready': (snapshot, timestamp) => {
      const error = notReady(snapshot)
      const checks = `"checks":{"database":"${databaseCheck(snapshot)}"}`
      return error === undefined
        ? answer(true, `{"status":"ready","timestamp":"${timestamp}",${checks}}`)
        : answer(false, `{"status":"not_ready","timestamp":"${timestamp}","error":"${error}",${checks}}`)
    },
    '/health/live': ({ heartbeatAgeMs }, timestamp) => {
      const alive = heartbeatAgeMs < stallMs
      return answer(alive, `{"status":"${alive ? 'alive' : 'stalled'}","timestamp":"${timestamp}"}`)
    },
    '/health/startup': (snapshot, timestamp) => {
      const error = notStarted(snapshot)
      return error === undefined
        ? answer(true, `{"status":"started","timestamp":"${timestamp}"}`)
        : answer(false, `{"status":"starting","timestamp":"${timestamp}","error":"${error}"}`)
    },
    '/api/system/health': (snapshot, timestamp) => {
      const healthy = databaseCheck(snapshot) === 'ok'
      return answer(healthy, `{"status":"${healthy ? 'healthy' : 'unhealthy'}","timestamp":"${timestamp}"}`)
    }
  }

  return (path: ProbePath, snapshot: Snapshot, nowMs: number): ProbeAnswer => answers[path](snapshot, stamp(nowMs))
}

function answer(healthy: boolean, body: string): ProbeAnswer {
  return { status: healthy ? 200 : 503, body }
}

/** Formats a time once per millisecond: many probes may come in the same millisecond. */
function timestamps() {
  let lastMs = Number.NaN
  let last = ''
  return (nowMs: number) => {
    if (nowMs !== lastMs) {
      lastMs = nowMs
      last = new Date(nowMs).toISOString()
    }
    return last
  }
}
