// @FEAT:exchanges @COMP:service @TYPE:helper
import { type NewSecret, readSecretFile, writeSecretFile } from '../auth/generated-secret.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { StartError } from '../start-error.ts'

const FILE = 'encryption-key'

/** `ENCRYPTION_KEY` of a service without that setting. */
export interface GeneratedKey {
  key: string
  /**
   * To be called before anything is encrypted, where the file of the key is missing or has none: proves that the
   * database has no account, whose keys only the lost key decrypts, and writes the new key to the file. Changes nothing
   * otherwise. Idempotent.
   * @returns what the file was
   * @throws {StartError} with the file and the remedy when there are accounts
   * @throws {ConfigError} when the file cannot be written
   * @throws {DatabaseUnavailableError}
   */
  keep?: (database: Database) => Promise<NewSecret['reason']>
}

/**
 * The key in `<dataDir>/encryption-key`; where that has none, a new one, which is not in the file yet. Writes nothing.
 * @throws {ConfigError} when the file cannot be read
 */
export async function generatedKey(dataDir: string): Promise<GeneratedKey> {
  const file = await readSecretFile(dataDir, FILE)
  if (file.reason === undefined) return { key: file.secret }
  return { key: file.secret, keep: database => keep(dataDir, file, database) }
}

/** Under a lock, because a garbled file is replaced: a command of the operator may do the same. */
function keep(dataDir: string, file: NewSecret, database: Database): Promise<NewSecret['reason']> {
  return database.transaction(async tx => {
    await tx`select pg_advisory_xact_lock(hashtext(${FILE}))`
    const accounts = await countAccounts(tx)
    if (accounts > 0) throw new StartError(lostKey(file, accounts))
    if ((await writeSecretFile(dataDir, FILE, file)) !== file.secret) {
      throw new StartError(`${file.path} was created by another process at the same time: start again`)
    }
    return file.reason
  })
}

/** Disabled ones too. None in a database without the table, whose schema is made later. */
async function countAccounts(tx: TransactionSql): Promise<number> {
  const [table] = await tx<{ exists: boolean }[]>`select to_regclass('accounts') is not null as exists`
  if (!table?.exists) return 0
  const [row] = await tx<{ count: number }[]>`select count(*)::int as count from accounts`
  return row?.count ?? 0
}

function lostKey({ path, reason }: NewSecret, accounts: number): string {
  const state = reason === 'missing' ? 'is missing' : 'has no key'
  const what = accounts === 1 ? 'the keys of 1 account are' : `the keys of ${accounts} accounts are`
  return `${path} ${state}, and ${what} encrypted with it: restore the file from a backup, or set ENCRYPTION_KEY to its content; where it is lost, see docs/deployment.md ("Embedded database")`
}
