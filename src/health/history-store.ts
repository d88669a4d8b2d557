// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/** The check whose periods are recorded while it is ok, too. */
export const READINESS = 'readiness'

/** How long the history is kept, in days. */
export const HISTORY_DAYS = 90
/** The newest periods are kept, so that a check that changes all the time does not fill the disk. */
const MAX_PERIODS = 100_000
/** A period that its replica has not confirmed for longer has ended: the replica writes every 10 s. */
const CONFIRMED = '30 seconds'

/** A time during which a check of a replica had one code. */
export interface PeriodRecord {
  periodId: string
  check: string
  instance: string
  /** Null: ok. */
  code: string | null
  /** Milliseconds since its start. */
  fromAgeMs: number
  /** Milliseconds since it was last seen; undefined: no later than what is recorded already. */
  untilAgeMs: number | undefined
  isOver: boolean
}

/** A time during which a check of a replica was not ok. */
export interface Incident {
  check: string
  code: string
  instance: string
  from: Date
  /** Null while it lasts. */
  until: Date | null
}

/** A day, and the share of it, from 0 to 1, in which at least one replica was ready. */
export interface ReadyShare {
  /** `YYYY-MM-DD` */
  date: string
  /** Of a day that is not over: of the time that has passed. Null for the time before the history begins. */
  readyShare: number | null
}

export interface HistoryFilter {
  from: Date
  to: Date
  check?: string | undefined
  limit: number
}

/** The health history of the cluster. All times are the database's. */
export class HistoryStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Writes new periods and the later ends of known ones. Idempotent. @throws {DatabaseUnavailableError} */
  async write(periods: readonly PeriodRecord[]): Promise<void> {
    if (periods.length === 0) return
    const rows = periods.map(({ periodId, check, instance, code, fromAgeMs, untilAgeMs, isOver }) => ({
      ...{ period_id: periodId, check_name: check, instance, code, from_age_ms: fromAgeMs },
      ...{ until_age_ms: untilAgeMs ?? fromAgeMs, is_over: isOver }
    }))
    await this.#database.run(
      sql => sql`
        insert into health_periods as known (period_id, check_name, instance, code, from_at, until_at, is_over)
        select period_id, check_name, instance, code, now() - from_age_ms * interval '1 ms',
          now() - until_age_ms * interval '1 ms', is_over
        from jsonb_to_recordset(${sql.json(rows)}) as period (
          period_id uuid, check_name text, instance text, code text, from_age_ms float8, until_age_ms float8,
          is_over boolean
        )
        order by period_id
        on conflict (period_id) do update
        set until_at = greatest(known.until_at, excluded.until_at), is_over = excluded.is_over`
    )
  }

  /**
   * The incidents that overlap a time, newest first.
   * @returns at most `limit`, and whether there are more
   * @throws {DatabaseUnavailableError}
   */
  async incidents({ from, to, check, limit }: HistoryFilter): Promise<{ incidents: Incident[]; hasMore: boolean }> {
    const rows = await this.#database.run(
      sql => sql<Incident[]>`
        select check_name as "check", code, instance, from_at as "from",
          case when is_over or until_at < now() - ${CONFIRMED}::interval then until_at end as "until"
        from health_periods
        where code is not null and from_at < ${to} and until_at >= ${from}
          and (${check ?? null}::text is null or check_name = ${check ?? null})
        order by from_at desc, period_id limit ${limit + 1}`
    )
    return { incidents: [...rows.slice(0, limit)], hasMore: rows.length > limit }
  }

  /**
   * For each day of a time zone that overlaps a time: the share in which at least one replica was ready.
   * @throws {DatabaseUnavailableError}
   */
  async readyShares({ from, to }: { from: Date; to: Date }, timeZone: string): Promise<ReadyShare[]> {
    const rows = await this.#database.run(
      sql => sql<ReadyShare[]>`
        with days as (
          select day::date as date,
            greatest(day_begin(day::date, ${timeZone}), (select coalesce(min(from_at), 'infinity') from health_periods)) as begins,
            least(day_begin(day::date + 1, ${timeZone}), now()) as ends
          from generate_series(
            (${from}::timestamptz at time zone ${timeZone})::date, (${to}::timestamptz at time zone ${timeZone})::date,
            interval '1 day'
          ) day
        ), ready as (
          select from_at as begins,
            case when is_over or until_at < now() - ${CONFIRMED}::interval then until_at else now() end as ends
          from health_periods where check_name = ${READINESS} and code is null
            and until_at >= ${from}::timestamptz - interval '1 day'
        ), clipped as (
          select date, greatest(ready.begins, days.begins) as begins, least(ready.ends, days.ends) as ends
          from days join ready on ready.begins < days.ends and ready.ends > days.begins
        ), added as (
          -- The part of each period that no earlier one covers: replicas are ready at the same time.
          select date, greatest(interval '0', ends - greatest(begins, max(ends) over (
              partition by date order by begins, ends rows between unbounded preceding and 1 preceding
            ))) as ready
          from clipped
        )
        select date::text, case when begins < ends then round((
            extract(epoch from coalesce((select sum(ready) from added where added.date = days.date), interval '0'))
            / extract(epoch from ends - begins)
          )::numeric, 6)::float8 end as "readyShare"
        from days order by date`
    )
    return [...rows]
  }
}

/** Deletes up to `limit` periods that ended more than 90 days ago, or are not among the newest. Idempotent. @returns how many */
export async function sweepHealthHistory(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from health_periods where period_id in (
      select period_id from health_periods
      where until_at < greatest(
        now() - make_interval(days => ${HISTORY_DAYS}::int),
        (select until_at from health_periods order by until_at desc offset ${MAX_PERIODS} limit 1)
      )
      order by until_at limit ${limit} for update skip locked
    )`
  return count
}
