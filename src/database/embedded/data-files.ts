/** Files of the data directory that a power cut, or a restore, left in another state than the service makes them. */
import { lchown, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StartError } from '../../start-error.ts'
import { errorCode } from '../error-code.ts'

/** In PG_VERSION. */
const VERSION = /^\d+(\.\d+)?$/
/** Of the version of `pg_control`, after the identifier of the cluster. A server refuses a file of another version. */
const CONTROL_VERSION_OFFSET = 8

/**
 * The major version of Postgres that made a cluster. A PG_VERSION that is missing or garbled is written again, in the
 * databases too, where `pg_control` proves that this version made the cluster: nothing is lost then.
 * @param dir of the cluster
 * @param majorVersion of this service
 * @param onRepaired called with the path of each file that was written
 * @returns undefined where `dir` is absent or empty
 * @throws {StartError} with the file and the remedy where it is not a cluster
 */
export async function clusterVersion(
  dir: string,
  majorVersion: string,
  onRepaired: (path: string) => void
): Promise<string | undefined> {
  if (await isAbsentOrEmpty(dir)) return undefined
  const made = await readVersion(dir)
  if (made !== undefined && made !== majorVersion) return made
  const control = await readFile(join(dir, 'global/pg_control')).catch(() => Buffer.alloc(0))
  const isOurs =
    control.length > CONTROL_VERSION_OFFSET + 4 &&
    control.readUInt32LE(CONTROL_VERSION_OFFSET) === Number(majorVersion) * 100
  if (!isOurs) {
    // Postgres itself reports a `pg_control` that it cannot use.
    if (made !== undefined) return made
    throw new StartError(
      `${join(dir, 'PG_VERSION')} is missing or garbled: restore ${dir} from a backup, or set another DATA_DIR`
    )
  }
  const databases = (await readdir(join(dir, 'base')).catch(() => [])).filter(name => /^\d+$/.test(name))
  for (const part of [dir, ...databases.map(name => join(dir, 'base', name))]) {
    if ((await readVersion(part)) === undefined) onRepaired(await writeVersion(dir, part, majorVersion))
  }
  return majorVersion
}

/**
 * Removes an empty file in place of a directory that holds nothing to keep.
 * @throws {StartError} when there is a file with content
 */
export async function removeEmptyFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined || found.isDirectory()) return
  if (found.size > 0) throw new StartError(`${path} must be a directory and is a file: move it away`)
  await rm(path)
}

/** An error of the system about a file of the data directory, as a sentence for the operator; others unchanged. */
export function explainFileError(err: unknown): unknown {
  if (!(err instanceof Error && 'path' in err && 'syscall' in err)) return err
  const code = errorCode(err) ?? 'unknown'
  const reason = code.endsWith('EISDIR')
    ? 'must be a file and is a directory: move it away'
    : `cannot be used (${code} of ${String(err.syscall)}): correct this, or set another DATA_DIR`
  return new StartError(`${String(err.path)} ${reason}`, { cause: err })
}

async function isAbsentOrEmpty(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).length === 0
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return true
    if (errorCode(err) !== 'ENOTDIR') throw err
    throw new StartError(
      `${dir} must be a directory and is a file: restore it from a backup, or move it away to begin with an empty database`,
      { cause: err }
    )
  }
}

async function readVersion(dir: string): Promise<string | undefined> {
  const version = (await readFile(join(dir, 'PG_VERSION'), 'utf8').catch(() => '')).trim()
  return VERSION.test(version) ? version : undefined
}

/** @returns the path */
async function writeVersion(dir: string, part: string, version: string): Promise<string> {
  const path = join(part, 'PG_VERSION')
  await writeFile(path, `${version}\n`, { mode: 0o600, flush: true })
  const { uid, gid } = await stat(dir)
  await lchown(path, uid, gid)
  return path
}
