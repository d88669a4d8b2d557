/** Databases with the schema of the service, copied from templates that are migrated once per test run. */
import { pino } from 'pino'
import type { Test } from 'tap'
import { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import { createTestDatabase } from './database.ts'
import { type FrozenClock, freezeClock } from './frozen-clock.ts'

const silent = pino({ level: 'silent' })

/** A pool of five connections that logs nothing. The caller closes it. */
export function openDatabase(url: string): Database {
  const database = new Database({ max: 5, applicationName: 'test', log: silent })
  database.open(url)
  return database
}

/** A database with the schema and no rows. A service that starts on it applies no migrations. */
export function migratedDatabase(t: Pick<Test, 'teardown'>): Promise<{ url: string }> {
  return createTestDatabase(t, migrated)
}

/**
 * As `migratedDatabase`, with a clock that advances only when the test advances it, also for the defaults of columns.
 */
export async function frozenDatabase(t: Pick<Test, 'teardown'>): Promise<{ url: string; clock: FrozenClock }> {
  const { url } = await createTestDatabase(t, frozenAndMigrated)
  return { url, clock: await freezeClock(t, url) }
}

async function migrated(url: string): Promise<void> {
  const database = openDatabase(url)
  await migrate(database)
  await database.close()
}

async function frozenAndMigrated(url: string): Promise<void> {
  const ends: (() => unknown)[] = []
  await freezeClock({ teardown: end => ends.push(end) }, url)
  for (const end of ends) await end()
  await migrated(url)
}
