import { access, constants, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'

const DIRECTORY = '/dev/shm'
/** A container's default is 64 MiB, of which Postgres itself needs a part. */
const NEEDED_BYTES = 4 * 1024 ** 3

/**
 * A directory of temporary files in memory if there is one with room, otherwise the one on the disk. Postgres creates a
 * database in a fifth of the time there, and each test has its own. TMPDIR overrides it.
 */
export async function memoryDirectory(): Promise<string> {
  if (process.env.TMPDIR) return tmpdir()
  try {
    await access(DIRECTORY, constants.W_OK)
    const { bavail, bsize } = await statfs(DIRECTORY)
    if (bavail * bsize >= NEEDED_BYTES) return DIRECTORY
  } catch {
    // The platform has none.
  }
  return tmpdir()
}
