import { access, constants, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'

const DIRECTORY = '/dev/shm'
/** The default of a container is 64 MiB, of which Postgres needs a part. */
const NEEDED_BYTES = 4 * 1024 ** 3

/**
 * A directory for temporary files in memory if there is one with enough space, otherwise the one on the disk. In memory
 * Postgres creates a database in a fifth of the time, and each test has its own database. TMPDIR overrides it.
 */
export async function memoryDirectory(): Promise<string> {
  if (process.env.TMPDIR) return tmpdir()
  try {
    await access(DIRECTORY, constants.W_OK)
    const { bavail, bsize } = await statfs(DIRECTORY)
    if (bavail * bsize >= NEEDED_BYTES) return DIRECTORY
  } catch {
    // The platform has no such directory.
  }
  return tmpdir()
}
