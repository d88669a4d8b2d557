import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * A secret that is made once and kept in a file of mode 0600, for the embedded default.
 * Two that make it at once end up with the same one; a crash leaves the whole secret or none.
 */
export async function generatedSecret(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  const kept = await read(path)
  if (kept !== undefined) return kept
  // Others may pass through, not look: started as root, the embedded database steps down to another user.
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, randomBytes(32).toString('base64'), { mode: 0o600, flag: 'wx' })
  try {
    // Fails where another was first; then theirs is the one.
    await link(draft, path)
  } catch (err) {
    if (codeOf(err) !== 'EEXIST') throw err
  } finally {
    await unlink(draft)
  }
  const secret = await read(path)
  if (secret === undefined) throw new Error(`the generated secret ${name} cannot be read`)
  return secret
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (err) {
    if (codeOf(err) === 'ENOENT') return undefined
    throw err
  }
}

function codeOf(err: unknown): unknown {
  return err instanceof Error && 'code' in err ? err.code : undefined
}
