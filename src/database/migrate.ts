import { basename, join } from 'node:path'
import Postgrator from 'postgrator'
import { sourceDir } from '../locations.ts'
import type { Database } from './database.ts'
import { DatabaseUnavailableError } from './failure.ts'
import { IS_RECORDED, recordOldestService } from './oldest-service.ts'
import { assertOwnTables } from './table-origin.ts'

/** The migrations: `NNN.do.<what>.sql`, applied in the order of their numbers. */
const MIGRATIONS = join(sourceDir, 'database/migrations/*.sql')

/** Key of the advisory lock: the letters `thmi` as a number. Other users of the database must not take it. */
const LOCK_KEY = 0x74686d69

const MIGRATION_DEADLINE_MS = 10 * 60_000

/**
 * Brings the schema up to date, in one transaction under a transaction-scoped advisory lock: replicas that start
 * together wait for each other, a crash leaves nothing half done, and a transaction-pooling pgbouncer is fine.
 * A newer schema stays as it is. Records the oldest service that works on the new schema. Idempotent.
 * @returns the files that were applied, none when the schema was up to date
 * @throws {SchemaError} when a table with a name of ours belongs to another system: then nothing is written
 * @throws {DatabaseUnavailableError}
 */
export async function migrate(database: Database): Promise<string[]> {
  return (await isUpToDate(database)) ? [] : applyMigrations(database)
}

/** In one network round trip, so that a start far away from the database is quick. */
async function isUpToDate(database: Database): Promise<boolean> {
  const newest = new Postgrator({ migrationPattern: MIGRATIONS, driver: 'pg', execQuery: async () => ({ rows: [] }) })
  try {
    const [row] = await database.run(sql =>
      sql.unsafe<{ version: number | null; is_recorded: boolean }[]>(
        `select max(version)::int as version, ${IS_RECORDED} as is_recorded from schema_version`
      )
    )
    const ahead = (row?.version ?? 0) - (await newest.getMaxVersion())
    return ahead > 0 || (ahead === 0 && row?.is_recorded === true)
  } catch (err) {
    // There is no table of versions before the first migration.
    if (err instanceof DatabaseUnavailableError && err.code === 'schema_incompatible') return false
    throw err
  }
}

function applyMigrations(database: Database): Promise<string[]> {
  return database.transaction(
    async tx => {
      await tx`select pg_advisory_xact_lock(${LOCK_KEY})`
      await assertOwnTables(tx)
      const postgrator = new Postgrator({
        migrationPattern: MIGRATIONS,
        driver: 'pg',
        schemaTable: 'schema_version',
        execQuery: async query => ({ rows: await tx.unsafe(query) }),
        execSqlScript: async script => {
          await tx.unsafe(script)
        }
      })
      const ahead = (await postgrator.getDatabaseVersion()) - (await postgrator.getMaxVersion())
      // A replica of an older version, started during a roll-out, leaves the newer schema as it is.
      if (ahead > 0) return []
      const applied = ahead < 0 ? await postgrator.migrate() : []
      await recordOldestService(tx)
      return applied.map(({ filename }) => basename(filename))
    },
    { deadlineMs: MIGRATION_DEADLINE_MS }
  )
}
