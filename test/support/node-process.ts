/** Node processes that know nothing of the test runner. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/**
 * Runs a compiled script with this Node in an environment of nothing but PATH, TMPDIR and `env`. tap slips its loader
 * into every child through NODE_OPTIONS, whatever `env` says: it costs start-up time and writes into the project's
 * directory, which the child may not be allowed to. So the environment is emptied by env(1); the pid is Node's.
 */
export function spawnNode(
  script: string,
  args: string[],
  { env = {}, ...options }: Omit<SpawnOptions, 'env'> & { env?: Record<string, string> } = {}
): ChildProcess {
  const { PATH = '/usr/bin:/bin', TMPDIR } = process.env
  const bare = Object.entries({ PATH, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...env })
  return spawn(
    'env',
    ['-i', ...bare.map(([key, value]) => `${key}=${value}`), process.execPath, script, ...args],
    options
  )
}
