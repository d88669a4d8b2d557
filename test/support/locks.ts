import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Test } from 'tap'
import type { Database } from '../../src/database/database.ts'

/** A transaction of the test that holds locks, so that the code under test has to wait. */
export interface Holder {
  sql: postgres.ReservedSql
  /** Ends the transaction. Its connection is closed at teardown. */
  commit(): Promise<void>
}

/** Opens a transaction on a separate connection. */
export async function openTransaction(t: Pick<Test, 'teardown'>, database: Database): Promise<Holder> {
  const client = postgres(await database.address, { max: 1, onnotice: () => undefined })
  t.teardown(() => client.end({ timeout: 0 }))
  const sql = await client.reserve()
  await sql`begin`
  return {
    sql,
    async commit() {
      await sql`commit`
    }
  }
}

/** Resolves when `count` sessions of the database wait for a lock. */
export async function untilWaiting(database: Database, count = 1): Promise<void> {
  for (;;) {
    const rows = await database.run(
      sql => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    )
    if (rows.length >= count) return
    await sleep(5)
  }
}
