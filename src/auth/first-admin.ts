import { randomBytes } from 'node:crypto'
import { open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { openDataDirectory, syncDirectory } from '../data-directory.ts'
import { StartError } from '../start-error.ts'
import type { Passwords } from './passwords.ts'
import type { Users } from './users.ts'

const USERNAME = 'admin'
const FILE = 'first-admin-password'
const PASSWORD_BYTES = 15

export interface FirstAdminOptions {
  users: Pick<Users, 'exist' | 'find' | 'createFirst'>
  passwords: Pick<Passwords, 'hash' | 'verify'>
  /** The data directory. Without a terminal the password is written to `first-admin-password` in it. */
  dataDir: string
  /** Prints to the terminal of the operator. Absent without a terminal. The text has a password: it must not be logged. */
  print?: ((text: string) => void) | undefined
}

/** What `ensureFirstAdmin` did. */
export interface FirstAdminReport {
  /** Whether it created the user. */
  created: boolean
  /** The file that has the password that must be changed. Absent where there is none. */
  file?: string
}

/**
 * Creates the user `admin` while there is no user, with a random password that must be changed at the first sign-in. The
 * password is printed or written before the user is committed, so that there is no admin whose password is lost; of
 * several replicas only the one that creates the user does so. A file without the current password, which a crash or
 * another replica left, is removed. Idempotent.
 * @throws {StartError} when the file cannot be written; then no user is created
 * @throws {DatabaseUnavailableError}
 */
export async function ensureFirstAdmin(options: FirstAdminOptions): Promise<FirstAdminReport> {
  const { users, passwords, dataDir, print } = options
  if (!(await users.exist())) {
    const password = randomBytes(PASSWORD_BYTES).toString('base64url')
    const keep = async () => {
      if (print)
        print(`first admin: user name ${USERNAME}, password ${password} (to be changed at the first sign-in)\n`)
      else await writePassword(dataDir, password)
    }
    const created = await users.createFirst(USERNAME, await passwords.hash(password), keep)
    if (created) return { created, ...(!print && { file: fileIn(dataDir) }) }
  }
  return { created: false, ...((await keepsCurrent(options)) && { file: fileIn(dataDir) }) }
}

/**
 * Removes the file with the password of the first admin, after that user's password was set. Idempotent; does nothing for
 * another user.
 * @throws the error of the file system, which names the file
 */
export async function removeFirstPassword(dataDir: string, username: string): Promise<void> {
  if (username.toLowerCase() === USERNAME) await removeFile(fileIn(dataDir))
}

function fileIn(dataDir: string): string {
  return join(dataDir, FILE)
}

/** In place of any other file: while there is no user, no file has a password of one. */
async function writePassword(dataDir: string, password: string): Promise<void> {
  const path = fileIn(dataDir)
  try {
    await openDataDirectory(dataDir)
    await removeFile(path)
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(`${password}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await syncDirectory(dataDir)
  } catch (cause) {
    if (cause instanceof StartError) throw cause
    throw new StartError(
      `the password of the first admin cannot be written: ${String(codeOf(cause))} at ${path}: set another DATA_DIR`,
      { cause }
    )
  }
}

/** Whether the file has the password that the first admin must change. A file with another content is removed. */
async function keepsCurrent({ users, passwords, dataDir }: FirstAdminOptions): Promise<boolean> {
  const path = fileIn(dataDir)
  const content = await readFile(path, 'utf8').catch(() => undefined)
  if (content === undefined) return false
  const admin = await users.find(USERNAME)
  if (admin?.mustChangePassword && (await passwords.verify(content.trim(), admin.passwordHash))) return true
  // It may be on a file system that is read-only by now. No user can sign in with its content.
  await removeFile(path).catch(() => undefined)
  return false
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (err) {
    if (!['ENOENT', 'ENOTDIR'].includes(String(codeOf(err)))) throw err
  }
}

function codeOf(err: unknown): unknown {
  return err instanceof Error && 'code' in err ? err.code : undefined
}
