// @FEAT:scheduler @COMP:job @TYPE:core
import type { Job } from '../scheduler/job.ts'
import { every, MINUTE } from '../scheduler/trigger.ts'
import { housekeeping } from './housekeeping.ts'

/** The schedule of the service. */
export function jobTable(): readonly Job[] {
  return [
    {
      id: 'housekeeping',
      type: 'housekeeping',
      name: 'Housekeeping',
      trigger: every(5 * MINUTE),
      scope: 'cluster',
      misfire: { policy: 'skip' },
      maxRunMs: 2 * MINUTE,
      run: housekeeping()
    }
  ]
}
