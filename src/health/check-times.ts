// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { CheckDetails } from '../domain/check-details.ts'

/** Remembers since when each check has its status and code. Checks are read every second, so it is exact to a second. */
export class CheckTimes {
  readonly #known = new Map<string, { state: string; since: string }>()

  /**
   * The checks, each with its `since`: its own, or when this replica first read its present status and code.
   * @param nowMs milliseconds since the epoch
   */
  complete(checks: readonly CheckDetails[], nowMs: number): CheckDetails[] {
    return checks.map(check => {
      const state = `${check.status} ${check.code}`
      let known = this.#known.get(check.name)
      if (known?.state !== state) {
        known = { state, since: new Date(nowMs).toISOString() }
        this.#known.set(check.name, known)
      }
      return { ...check, since: check.since ?? known.since }
    })
  }
}
