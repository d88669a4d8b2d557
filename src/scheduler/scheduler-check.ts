// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { CheckDetails } from '../domain/check-details.ts'
import type { SchedulerHealth } from './status.ts'

/** The scheduler of this replica, the jobs that are overdue, and who may run them; latency and age are those of the last poll. */
export function schedulerDetails(health: SchedulerHealth): CheckDetails {
  const code = codeOf(health)
  return {
    name: 'scheduler',
    status: code === null ? 'ok' : 'degraded',
    code,
    latency_ms: health.pollMs,
    age_ms: health.heartbeatAgeMs,
    since: null
  }
}

/** `no_runner`: no living replica may run scheduled jobs, such as when all have `SCHEDULER_ENABLED=false`. */
function codeOf({ wedged, runners, overdue }: SchedulerHealth): string | null {
  if (wedged) return 'wedged'
  if (runners === 0) return 'no_runner'
  return overdue.length > 0 ? 'overdue' : null
}
