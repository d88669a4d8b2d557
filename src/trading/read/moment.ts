// @FEAT:trading @COMP:service @TYPE:helper
import type { TransactionSql } from '../../database/client.ts'
import type { Fragment } from './column.ts'

/** A day of TIME_ZONE, `YYYY-MM-DD`, or a time in UTC with at most six decimals of a second. */
export type Moment = { day: string } | { time: string }

/** What a moment looks like in a request: a day, or a time with its offset. */
export const MOMENT_PATTERN =
  '^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2}))?$'

const PARTS = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}:\d{2})(\.\d{1,6})?(Z|[+-](?:0\d|1[0-4]):[0-5]\d))?$/

/** The moment that a text names; undefined when there is no such day or time in the years 1 to 9999. */
export function momentOf(text: string): Moment | undefined {
  const [, date = '', clock, fraction = '', offset = ''] = PARTS.exec(text) ?? []
  if (!isDay(date)) return undefined
  if (clock === undefined) return { day: date }
  // A time that does not exist, such as 24:00:00, is moved or invalid.
  if (iso(Date.parse(`${date}T${clock}Z`)) !== `${date}T${clock}`) return undefined
  const seconds = iso(Date.parse(`${date}T${clock}${offset}`))
  return isYear(seconds) ? { time: `${seconds}${fraction}Z` } : undefined
}

/** Whether a text is a day of the years 1 to 9999. */
export function isDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && isYear(text) && iso(Date.parse(`${text}T00:00:00Z`)).slice(0, 10) === text
}

/** Whether a text is a time in UTC with six decimals, as in cursors. */
export function isTimestamp(text: string): boolean {
  const moment = /\.\d{6}Z$/.test(text) ? momentOf(text) : undefined
  return moment !== undefined && 'time' in moment && moment.time === text
}

/** Whether a moment is after another one of the same kind. A day and a time are not compared. */
export function isAfter(one: Moment, other: Moment): boolean {
  if ('day' in one) return 'day' in other && one.day > other.day
  return 'time' in other && comparable(one.time) > comparable(other.time)
}

/** The moment as a timestamp of SQL: for a day, its beginning. As text, because the driver would cut the microseconds. */
export function timestampOf(tx: TransactionSql, moment: Moment, timeZone: string): Fragment {
  if ('day' in moment) return tx`day_begin(${moment.day}::text::date, ${timeZone})`
  return tx`${moment.time}::text::timestamptz`
}

/** The first day that begins at the moment or later, as a date of SQL. */
export function firstDayOf(tx: TransactionSql, moment: Moment, timeZone: string): Fragment {
  if ('day' in moment) return tx`${moment.day}::text::date`
  const time = timestampOf(tx, moment, timeZone)
  const date = tx`(${time} at time zone ${timeZone}::text)::date`
  return tx`(${date} + case when ${time} > day_begin(${date}, ${timeZone}) then 1 else 0 end)`
}

/** To the second, without `Z`; empty for what is no time. */
function iso(ms: number): string {
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace(/\.\d{3}Z$/, '')
}

/** Postgres has no year 0, and years beyond 9999 have another spelling. */
function isYear(text: string): boolean {
  return /^(?!0000)\d{4}-/.test(text)
}

function comparable(time: string): string {
  const [seconds = '', fraction = ''] = time.replace('Z', '').split('.')
  return `${seconds}.${fraction.padEnd(6, '0')}`
}
