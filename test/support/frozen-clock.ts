/** A database whose clock moves only when a test moves it. */
import postgres from 'postgres'
import type { Test } from 'tap'

export interface FrozenClock {
  /** Moves the clock of the database forward, by so many seconds. */
  advance(seconds: number): Promise<void>
}

/**
 * Stops `now()` and `clock_timestamp()` for every session that starts afterwards: functions of these names in `public`
 * precede the ones of Postgres. Call it before anything else connects.
 * @param url of an empty database
 */
export async function freezeClock(t: Pick<Test, 'teardown'>, url: string): Promise<FrozenClock> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  await sql.unsafe(`
    create table frozen_clock as select pg_catalog.now() as at;
    create function public.now() returns timestamptz language sql stable as 'select at from public.frozen_clock';
    create function public.clock_timestamp() returns timestamptz language sql volatile
      as 'select at from public.frozen_clock';
    do $$ begin
      execute format('alter database %I set search_path = public, pg_catalog', current_database());
    end $$`)
  return {
    async advance(seconds) {
      await sql`update frozen_clock set at = at + make_interval(secs => ${seconds})`
    }
  }
}
