import { Cron } from 'croner'
import { DAY, HOUR, SECOND } from '../async/durations.ts'
import { isTimeZone } from '../domain/time-zone.ts'

/** When a job is due. All times are milliseconds since the Unix epoch; every function is pure. */
export interface Trigger {
  /** As in the status: `interval[0:00:29]`, `cron[hour='21', minute='3']`. */
  readonly text: string
  /** All that the due times depend on: two triggers with the same definition are due at the same times. */
  readonly definition: string
  /** The longest time between two fires that belongs to the schedule, in milliseconds. */
  readonly periodMs: number
  /** The first due time after a moment. */
  next(afterMs: number): number
  /** The last due time at or before a moment. */
  latest(atMs: number): number
  /** The number of due times in `[fromMs, untilMs)`. */
  count(fromMs: number, untilMs: number): number
}

/**
 * An interval, counted from the Unix epoch, so that all replicas compute the same due times.
 * @param periodMs whole seconds, in milliseconds
 * @param offsetMs how long after the multiples of the period it is due: whole seconds, in milliseconds, less than the
 *   period. Default 0
 * @throws {RangeError} when the period is not a positive number of whole seconds, or the offset is not within it
 */
export function every(periodMs: number, offsetMs = 0): Trigger {
  if (!(periodMs > 0 && Number.isSafeInteger(periodMs / SECOND))) {
    throw new RangeError('an interval is a positive number of whole seconds')
  }
  if (!(offsetMs >= 0 && offsetMs < periodMs && Number.isSafeInteger(offsetMs / SECOND))) {
    throw new RangeError('an offset is a number of whole seconds within the interval')
  }
  const text = `interval[${hoursMinutesSeconds(periodMs / SECOND)}]`
  const slot = (atMs: number) => Math.floor((atMs - offsetMs) / periodMs)
  const slotsBefore = (atMs: number) => Math.ceil((atMs - offsetMs) / periodMs)
  return {
    text,
    definition: offsetMs === 0 ? text : `${text} + ${hoursMinutesSeconds(offsetMs / SECOND)}`,
    periodMs,
    next: afterMs => (slot(afterMs) + 1) * periodMs + offsetMs,
    latest: atMs => slot(atMs) * periodMs + offsetMs,
    count: (fromMs, untilMs) => Math.max(0, slotsBefore(untilMs) - slotsBefore(fromMs))
  }
}

/** `0:00:29`; from a day on, `1 day, 2:00:00`. */
function hoursMinutesSeconds(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, '0')
  const days = Math.floor(seconds / 86_400)
  const rest = seconds % 86_400
  const time = `${Math.floor(rest / 3_600)}:${two(Math.floor((rest % 3_600) / 60))}:${two(rest % 60)}`
  return days === 0 ? time : `${days} day${days === 1 ? '' : 's'}, ${time}`
}

export interface TimeOfDay {
  hour: number
  minute: number
  /** Default 0. */
  second?: number
}

/** The longest day, in milliseconds: no time zone sets its clock back by more than two hours. */
const LONGEST_DAY_MS = 26 * HOUR

/**
 * Once a day at a wall-clock time of a time zone. On a day without that time it is due when the clock has jumped over
 * it; on a day that has the time twice, at the first one.
 * @param timeZone of the IANA database
 * @throws {RangeError} when the time is not one of a day or the zone is not known
 */
export function daily({ hour, minute, second = 0 }: TimeOfDay, timeZone: string): Trigger {
  for (const [value, max] of [
    [hour, 23],
    [minute, 59],
    [second, 59]
  ] as const) {
    if (!(Number.isInteger(value) && value >= 0 && value <= max)) throw new RangeError('not a time of a day')
  }
  if (!isTimeZone(timeZone)) throw new RangeError('not a time zone')
  const cron = new Cron(`${second} ${minute} ${hour} * * *`, { timezone: timeZone })
  const parts = [`hour='${hour}'`, `minute='${minute}'`, ...(second === 0 ? [] : [`second='${second}'`])]
  const text = `cron[${parts.join(', ')}]`

  const next = (afterMs: number) => {
    const found = cron.nextRun(new Date(afterMs))
    if (!found) throw new RangeError('a daily trigger without a next time')
    return found.getTime()
  }
  const latest = (atMs: number) => {
    let found = next(atMs - 2 * LONGEST_DAY_MS)
    for (let later = next(found); later <= atMs; later = next(later)) found = later
    return found
  }
  return {
    text,
    definition: `${text} ${timeZone}`,
    periodMs: DAY,
    next,
    latest,
    count: (fromMs, untilMs) => {
      // Days differ in length by hours at most, so the rounded quotient is exact.
      const days = Math.round((latest(untilMs - 1) - next(fromMs - 1)) / DAY)
      return Math.max(0, days + 1)
    }
  }
}
