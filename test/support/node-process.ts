/** Node processes without the environment of the test runner. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

export type NodeProcessOptions = Omit<SpawnOptions, 'env'> & {
  env?: Record<string, string>
  /** Limit of open file descriptors; default that of this process. */
  openFiles?: number
}

/**
 * Runs a compiled script with this Node in an environment of nothing but PATH, TMPDIR and `env`. tap adds its loader to
 * every child through NODE_OPTIONS, independent of `env`. The loader costs start-up time and writes into the project's
 * directory, which the child may not be permitted to do. So env(1) empties the environment; the pid is that of Node.
 */
export function spawnNode(
  script: string,
  args: string[],
  { env = {}, openFiles, ...options }: NodeProcessOptions = {}
): ChildProcess {
  const { PATH = '/usr/bin:/bin', TMPDIR } = process.env
  const bare = Object.entries({ PATH, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...env })
  const command = ['env', '-i', ...bare.map(([key, value]) => `${key}=${value}`), process.execPath, script, ...args]
  const limit = openFiles === undefined ? '' : `ulimit -n ${openFiles} && `
  return spawn('sh', ['-c', `${limit}exec "$@"`, 'sh', ...command], options)
}
