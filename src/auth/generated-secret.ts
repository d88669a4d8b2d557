import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config.ts'

const BYTES = 32

/**
 * A secret that is made once and kept in a file of mode 0600, for the embedded default.
 * Two that make it at once end up with the same one; a crash leaves the whole secret or none.
 * @throws {ConfigError} when it cannot be read or made, or what is there is too short to be one
 */
export async function generatedSecret(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  try {
    return await readOrMake(directory, path)
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new ConfigError(`DATA_DIR must let ${name} be read and made: ${codeOf(cause)} at ${path}`, { cause })
  }
}

async function readOrMake(directory: string, path: string): Promise<string> {
  const kept = await read(path)
  if (kept !== undefined) return kept
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeThrough(draft, randomBytes(BYTES).toString('base64'))
  try {
    // Fails where another was first; then theirs is the one.
    await link(draft, path)
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  } finally {
    await unlink(draft)
  }
  const secret = await read(path)
  if (secret === undefined) throw new ConfigError(`DATA_DIR must keep what is written to it: ${path} is gone`)
  return secret
}

/** To the disk, not only to its cache: the name must never appear before the content. */
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
      throw new ConfigError(`${path} holds no secret: remove it, and another is made`)
    }
    return secret
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
}

function codeOf(err: unknown): unknown {
  return err instanceof Error && 'code' in err ? err.code : undefined
}
