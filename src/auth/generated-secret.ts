import { randomBytes } from 'node:crypto'
import { link, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config.ts'
import { openDataDirectory } from '../data-directory.ts'
import { StartError } from '../start-error.ts'

const BYTES = 32

/**
 * Returns the secret in a file of mode 0600, which is created when it does not exist. Idempotent: concurrent calls, also
 * of several processes, return the same secret, and a crash leaves either the whole file or none.
 * @param name of the file
 * @returns 32 random bytes in base64
 * @throws {ConfigError} when the file cannot be read or created, or is too short for a secret
 */
export async function generatedSecret(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  try {
    return await readOrCreate(directory, path)
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    if (cause instanceof StartError) throw new ConfigError(cause.message, { cause })
    throw new ConfigError(`DATA_DIR must let ${name} be read and created: ${codeOf(cause)} at ${path}`, { cause })
  }
}

async function readOrCreate(directory: string, path: string): Promise<string> {
  const kept = await read(path)
  if (kept !== undefined) return kept
  await openDataDirectory(directory)
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeThrough(draft, randomBytes(BYTES).toString('base64'))
  try {
    // Fails when another process was first: its secret is used.
    await link(draft, path)
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  } finally {
    await unlink(draft)
  }
  const secret = await read(path)
  if (secret === undefined)
    throw new ConfigError(`DATA_DIR must keep the files that are written to it: ${path} does not exist`)
  return secret
}

/** Writes to the disk, not only to its cache: the name must never appear before the content. */
async function writeThrough(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    const secret = (await readFile(path, 'utf8')).trim()
    if (Buffer.from(secret, 'base64').length < BYTES) {
      throw new ConfigError(`${path} has no secret: remove it, and a new one is created`)
    }
    return secret
  } catch (err) {
    // The creation of the directory gives the reason.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(String(codeOf(err)))) return undefined
    throw err
  }
}

function codeOf(err: unknown): unknown {
  return err instanceof Error && 'code' in err ? err.code : undefined
}
