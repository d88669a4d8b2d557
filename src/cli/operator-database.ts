import { userInfo } from 'node:os'
import { type AuditEntry, AuditLog } from '../auth/audit-log.ts'
import { loadConfig } from '../config.ts'
import type { TransactionSql } from '../database/client.ts'
import { Database } from '../database/database.ts'
import type { DatabaseFailure, DatabaseUnavailableError } from '../database/failure.ts'
import { migrate } from '../database/migrate.ts'
import { assertSchema } from '../database/schema.ts'
import type { Log } from '../log/log.ts'

/** In place of a secret that a command does not use, such as that of the session cookies. */
export const UNUSED_SECRET = Buffer.alloc(32).toString('base64')

/** Writes a command's audit entry in the transaction of its change. */
export type Audit = (target: string) => (tx: TransactionSql) => Promise<void>

/**
 * Runs `work` on the database of the service, with the schema up to date. Without `DATABASE_URL` that is the embedded
 * Postgres: the running one, or else one that is started for this command.
 * @param action the command's name, for the audit log
 * @throws {DatabaseUnavailableError} when the database cannot be used
 * @throws {SchemaError} when this version cannot work on the schema: then `work` is not called
 * @throws {ConfigError} when a setting breaks its rule
 */
export async function withDatabase<T>(
  action: string,
  work: (database: Database, audit: Audit) => Promise<T>
): Promise<T> {
  const { DATABASE_URL, DATA_DIR, SERVICE_NAME } = operatorConfig()
  const database = new Database({ max: 2, applicationName: `${SERVICE_NAME}-admin`, log: silent })
  const embedded = DATABASE_URL === undefined ? await openEmbedded(DATA_DIR) : undefined
  try {
    database.open(DATABASE_URL ?? embedded?.url ?? '')
    await migrate(database)
    await assertSchema(database)
    return await work(database, target => tx => new AuditLog(database).record(auditEntry(action, target), tx))
  } finally {
    await database.close()
    await embedded?.stop()
  }
}

/** The data directory of the embedded Postgres; undefined with `DATABASE_URL`. @throws {ConfigError} */
export function embeddedDataDir(): string | undefined {
  const { DATABASE_URL, DATA_DIR } = operatorConfig()
  return DATABASE_URL === undefined ? DATA_DIR : undefined
}

/** The settings of the service, of which a command needs no secret. @throws {ConfigError} */
export function operatorConfig() {
  return loadConfig({ SESSION_SECRET: UNUSED_SECRET, ENCRYPTION_KEY: UNUSED_SECRET, ...process.env })
}

async function openEmbedded(dataDir: string) {
  const { runningEmbeddedPostgres, startEmbeddedPostgres } = await import('../database/embedded/index.ts')
  const url = await runningEmbeddedPostgres(dataDir)
  if (url !== undefined) return { url, stop: async () => undefined }
  return startEmbeddedPostgres({ dataDir, log: silent })
}

const ignore = () => undefined
const silent: Log = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  fatal: ignore,
  child: () => silent
}

/** User names have no colon, so no user has the name of an operator. */
function auditEntry(action: string, target: string): AuditEntry {
  return { actor: `cli:${operator()}`, action, target, outcome: 'succeeded' }
}

function operator(): string {
  try {
    return userInfo().username
  } catch {
    // The user of a container may have no name.
    return String(process.getuid?.())
  }
}

const SENTENCES: Record<DatabaseFailure, string> = {
  database_unreachable: 'the database cannot be reached',
  database_timeout: 'the database did not answer in time',
  database_refused: 'the database refused the connection or the statement',
  database_read_only: 'the database is read-only',
  database_failing: 'the database cannot execute statements',
  schema_incompatible: 'tables or columns that this version needs are missing'
}

/** A sentence for the operator, with the code of the cause, such as `ECONNREFUSED` or an SQLSTATE. */
export function sentenceOf({ code, cause }: DatabaseUnavailableError): string {
  const causeCode = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  return `${SENTENCES[code]}${causeCode}: check DATABASE_URL and the server`
}
