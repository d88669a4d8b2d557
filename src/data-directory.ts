import { constants } from 'node:fs'
import { access, mkdir, open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { StartError } from './start-error.ts'

const NO_PERMISSION = 'may not be written by this user'

/** Reasons why a directory cannot be created or written, by the code of the system's error. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: NO_PERMISSION,
  EPERM: NO_PERMISSION,
  EROFS: 'is on a read-only file system',
  ENOSPC: 'is on a full disk',
  EDQUOT: 'is beyond the disk quota of this user'
}

/**
 * Creates the data directory, mode 0700, with its parents, unless it exists.
 * @returns its absolute path
 * @throws {StartError} with the reason when it cannot be created or written
 */
export async function openDataDirectory(dataDir: string): Promise<string> {
  const path = resolve(dataDir)
  try {
    await makeDirectory(path)
    await access(path, constants.W_OK | constants.X_OK)
    return path
  } catch (cause) {
    if (cause instanceof StartError) throw cause
    const code = codeOf(cause)
    const reason = REASONS[code] ?? `cannot be created (${code})`
    throw new StartError(`the data directory ${path} ${reason}: set another DATA_DIR`, { cause })
  }
}

/**
 * Not with the option `recursive`: Node then repeats without end where the system reports for a new entry of an existing
 * directory that the directory does not exist, as below /proc.
 */
async function makeDirectory(path: string): Promise<void> {
  if (await isDirectory(path)) return
  if (dirname(path) !== path) await makeDirectory(dirname(path))
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (err) {
    // Another process may have created it.
    if (codeOf(err) !== 'EEXIST' || !(await isDirectory(path))) throw err
  }
}

/** @throws {StartError} for a file of another kind */
async function isDirectory(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true
  } catch (err) {
    // Below a file that is not a directory: the parent gives the reason.
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(err))) return false
    throw err
  }
  throw new StartError(`${path} is not a directory: set another DATA_DIR`)
}

/**
 * Writes the names in a directory to the disk. Without it a power cut may undo the creation or the renaming of a file
 * that is in use already. Idempotent.
 */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function codeOf(err: unknown): string {
  return err instanceof Error && 'code' in err ? String(err.code) : String(err)
}
