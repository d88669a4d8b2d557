// @FEAT:exchanges @COMP:service @TYPE:helper
import { readSecretFile, type SecretFile, writeSecretFile } from '../auth/generated-secret.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { StartError } from '../start-error.ts'
import { KeyRing } from './key-ring.ts'

const FILE = 'encryption-key'

/** What the file of the key was at the start. */
type FileState = 'kept' | 'missing' | 'garbled'

/** `ENCRYPTION_KEY` of a service without that setting. */
export interface GeneratedKey {
  key: string
  /**
   * To be called before anything is encrypted: proves that the key is not a new one next to accounts that a lost one
   * encrypted. Then writes the key to its file where that was missing or garbled. Idempotent.
   * @throws {StartError} with the file and the remedy when there are accounts, and the key is that of none
   * @throws {ConfigError} when the file cannot be written
   * @throws {DatabaseUnavailableError}
   */
  keep: (database: Database) => Promise<FileState>
}

/**
 * The key in `<dataDir>/encryption-key`; where that has none, a new one, which is not in the file yet. Writes nothing.
 * @throws {ConfigError} when the file cannot be read
 */
export async function generatedKey(dataDir: string): Promise<GeneratedKey> {
  const file = await readSecretFile(dataDir, FILE)
  return { key: file.secret, keep: database => keep(dataDir, file, database) }
}

/** Under a lock, because a garbled file is replaced: a command of the operator may do the same. */
function keep(dataDir: string, file: SecretFile, database: Database): Promise<FileState> {
  return database.transaction(async tx => {
    await tx`select pg_advisory_xact_lock(hashtext(${FILE}))`
    const keyIds = await keyIdsOfAccounts(tx)
    const ring = new KeyRing(file.secret)
    if (keyIds.length > 0 && !keyIds.some(keyId => ring.has(keyId))) {
      throw new StartError(lostKey(file, keyIds.length))
    }
    if (file.reason === undefined) return 'kept'
    if ((await writeSecretFile(dataDir, FILE, file)) !== file.secret) {
      throw new StartError(`${file.path} was created by another process at the same time: start again`)
    }
    return file.reason
  })
}

/** One of each account, disabled ones too. None in a database without the table, whose schema is made later. */
async function keyIdsOfAccounts(tx: TransactionSql): Promise<string[]> {
  const [table] = await tx<{ exists: boolean }[]>`select to_regclass('accounts') is not null as exists`
  if (!table?.exists) return []
  const rows = await tx<{ key_id: string }[]>`select key_id from accounts`
  return rows.map(row => row.key_id)
}

function lostKey({ path, reason }: SecretFile, accounts: number): string {
  const whose = accounts === 1 ? 'the keys of 1 account' : `the keys of ${accounts} accounts`
  const states = {
    kept: `${path} has another key than the one that encrypted ${whose}`,
    missing: `${path} is missing, and ${whose} are encrypted with it`,
    garbled: `${path} has no key, and ${whose} are encrypted with it`
  }
  return `${states[reason ?? 'kept']}: restore the file from a backup, or set ENCRYPTION_KEY to its content; where it is lost, see docs/deployment.md#embedded-database`
}
