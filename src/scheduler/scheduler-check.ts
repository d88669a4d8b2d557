// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { CheckDetails } from '../domain/check-details.ts'
import type { SchedulerHealth } from './status.ts'

/** The scheduler of this replica and the jobs that are overdue; the age is that of the last poll. */
export function schedulerDetails({ heartbeatAgeMs, wedged, overdue }: SchedulerHealth): CheckDetails {
  return {
    name: 'scheduler',
    status: wedged || overdue.length > 0 ? 'degraded' : 'ok',
    code: wedged ? 'wedged' : overdue.length > 0 ? 'overdue' : null,
    latency_ms: null,
    age_ms: heartbeatAgeMs,
    since: null
  }
}
