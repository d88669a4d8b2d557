/** A database whose clock advances only when a test advances it. */
import postgres from 'postgres'
import type { Test } from 'tap'

export interface FrozenClock {
  /** Advances the clock of the database by the given seconds. */
  advance(seconds: number): Promise<void>
}

/**
 * Stops `now()` and `clock_timestamp()` at the present time, for every session that starts afterwards: functions of
 * these names in `public` precede those of Postgres. Call it before anything else connects.
 */
export async function freezeClock(t: Pick<Test, 'teardown'>, url: string): Promise<FrozenClock> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  // A setting of a database is not copied with its template, so this is also run on a copy.
  await sql.unsafe(`
    create table if not exists frozen_clock (at timestamptz not null);
    delete from frozen_clock;
    insert into frozen_clock values (pg_catalog.now());
    create or replace function public.now() returns timestamptz language sql stable
      as 'select at from public.frozen_clock';
    create or replace function public.clock_timestamp() returns timestamptz language sql volatile
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
