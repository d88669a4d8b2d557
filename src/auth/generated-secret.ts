import { randomBytes } from 'node:crypto'
import { link, open, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config.ts'
import { openDataDirectory, syncDirectory } from '../data-directory.ts'
import { KEY_LIST } from '../setting-types.ts'
import { StartError } from '../start-error.ts'

const BYTES = 32

/** What the files contain. A power cut may leave one that is empty, or has other bytes. */
const CONTENTS = {
  'session-secret': /^[\w+/-]{43,}=*(,[\w+/-]{43,}=*)*$/,
  'encryption-key': new RegExp(KEY_LIST)
} as const

type SecretName = keyof typeof CONTENTS

/** `garbled`: there is a file, and it has no secret. */
type MissingSecret = 'missing' | 'garbled'

/** A secret in memory that its file does not have yet. */
interface NewSecret {
  path: string
  reason: MissingSecret
  /** 32 random bytes in base64. */
  secret: string
}

/** What a file has, or a new secret in its place. */
export type SecretFile = { path: string; secret: string; reason?: undefined } | NewSecret

/**
 * Returns the session secret in its file of mode 0600, which is created when it does not exist, and replaced when it has
 * none: only the sessions end. Idempotent: concurrent calls, also of several processes, return the same secret, and a
 * crash leaves either the whole file or none.
 * @param onReplaced called with the path when the file was replaced
 * @returns 32 random bytes in base64
 * @throws {ConfigError} when the file cannot be read or created
 */
export async function sessionSecret(directory: string, onReplaced?: (path: string) => void): Promise<string> {
  const file = await readSecretFile(directory, 'session-secret')
  if (file.reason === undefined) return file.secret
  const kept = await writeSecretFile(directory, 'session-secret', file)
  if (file.reason === 'garbled') onReplaced?.(file.path)
  return kept
}

/**
 * Reads a file. Writes nothing: where the file has no secret, `writeSecretFile` keeps the new one.
 * @throws {ConfigError} when the file cannot be read
 */
export function readSecretFile(directory: string, name: SecretName): Promise<SecretFile> {
  const path = join(directory, name)
  return explained(path, name, async () => {
    const secret = await read(path, name)
    if (typeof secret === 'object') return { path, ...secret }
    return { path, reason: secret, secret: randomBytes(BYTES).toString('base64') }
  })
}

/**
 * Writes a new secret to its file of mode 0600, and to the disk, before it returns. A garbled file is replaced. What
 * another process has written meanwhile is kept.
 * @returns the secret that the file has now
 * @throws {ConfigError} when the file cannot be created
 */
export function writeSecretFile(directory: string, name: SecretName, { path, secret }: NewSecret): Promise<string> {
  return explained(path, name, async () => {
    await openDataDirectory(directory)
    const draft = `${path}.${randomBytes(6).toString('hex')}`
    await writeThrough(draft, secret)
    try {
      // The first of several processes replaces a garbled file; the others find that it has a secret.
      if ((await read(path, name)) === 'garbled') await rename(draft, path)
      // Fails when another process was first: its secret is used.
      else await link(draft, path)
    } catch (err) {
      if (codeOf(err) !== 'EEXIST') throw err
    } finally {
      await unlink(draft).catch(() => undefined)
    }
    await syncDirectory(directory)
    const kept = await read(path, name)
    if (typeof kept === 'object') return kept.secret
    throw new ConfigError(`DATA_DIR must keep the files that are written to it: ${path} is ${kept}`)
  })
}

/** Runs `work` on a file, whose errors become sentences for the operator. @throws {ConfigError} */
async function explained<T>(path: string, name: SecretName, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    if (cause instanceof StartError) throw new ConfigError(cause.message, { cause })
    if (codeOf(cause) === 'EISDIR') {
      throw new ConfigError(`${path} must be a file and is a directory: remove it, or restore the file from a backup`, {
        cause
      })
    }
    throw new ConfigError(`DATA_DIR must let ${name} be read and created: ${codeOf(cause)} at ${path}`, { cause })
  }
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

async function read(path: string, name: SecretName): Promise<{ secret: string } | MissingSecret> {
  try {
    const secret = (await readFile(path, 'utf8')).trim()
    return CONTENTS[name].test(secret) ? { secret } : 'garbled'
  } catch (err) {
    // The creation of the directory gives the reason.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(String(codeOf(err)))) return 'missing'
    throw err
  }
}

function codeOf(err: unknown): unknown {
  return err instanceof Error && 'code' in err ? err.code : undefined
}
