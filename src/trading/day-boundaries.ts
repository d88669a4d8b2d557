// @FEAT:trading-jobs @COMP:service @TYPE:core
import { ConfigError } from '../config.ts'
import type { Database } from '../database/database.ts'
import { dayFormat } from '../domain/time-zone.ts'

/** The days that are compared: this many years before and after today. */
const YEARS = 10
const MILLISECOND = 1

/** SQLSTATE of a time zone that PostgreSQL does not know. */
const INVALID_PARAMETER_VALUE = '22023'

/**
 * Verifies that Node.js, which computes the due times of the jobs, and PostgreSQL, which assigns executions to days,
 * begin each day of a time zone at the same moment. They differ for a name that PostgreSQL reads as an abbreviation
 * with a fixed offset (`CET`), for a POSIX offset (`+09:00`), and where their time zone databases differ. Idempotent.
 * @throws {ConfigError} naming the first day that begins at different moments
 * @throws {DatabaseUnavailableError}
 */
export async function assertSameDays(database: Database, timeZone: string): Promise<void> {
  const days = await readDays(database, timeZone)
  const format = dayFormat(timeZone)
  const different = days.find(
    ({ day, beginsMs }) => format.format(beginsMs) !== day || format.format(beginsMs - MILLISECOND) === day
  )
  if (!different) return
  throw new ConfigError(
    `TIME_ZONE: Node.js and PostgreSQL do not begin ${different.day} at the same time; use the name of a region, such as Europe/Berlin; for such a name, update the one with the older time zone data`
  )
}

/** When PostgreSQL begins each day, in milliseconds since the epoch. */
async function readDays(database: Database, timeZone: string): Promise<{ day: string; beginsMs: number }[]> {
  try {
    return await database.run(
      sql => sql<{ day: string; beginsMs: number }[]>`
        select day::text, (extract(epoch from day_begin(day, ${timeZone})) * 1000)::float8 as "beginsMs"
        from (
          select day::date from generate_series(
            current_date - make_interval(years => ${YEARS}::int), current_date + make_interval(years => ${YEARS}::int),
            interval '1 day'
          ) day
        ) compared
        order by day`
    )
  } catch (err) {
    if (!(err instanceof Error && 'code' in err && err.code === INVALID_PARAMETER_VALUE)) throw err
    throw new ConfigError('TIME_ZONE: PostgreSQL does not know it; use the name of a region, such as Europe/Berlin')
  }
}
