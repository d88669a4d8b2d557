/** A Postgres cluster on the disk. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { syncDirectory } from '../../data-directory.ts'
import { StartError } from '../../start-error.ts'
import type { Binaries } from './binaries.ts'
import { endWithThisProcess } from './guard.ts'

/** Between the name of a cluster and the id of the process that makes it. */
const UNFINISHED = '.init-'
/** Lines of initdb in the message of an error. */
const LINES = 3

/**
 * Makes a new cluster in `dir`: UTF-8, the built-in C.UTF-8 locale, superuser `postgres`. It is made next to `dir` and
 * renamed, so a cluster in `dir` is complete, also after a kill -9 or a power cut. A failure leaves nothing.
 * @param args further arguments of initdb, such as who may connect
 * @param signal ends initdb
 * @throws {StartError} with the end of what initdb reports; or the reason of `signal`
 */
export async function initCluster(
  { command, env }: Binaries,
  dir: string,
  args: string[],
  signal?: AbortSignal
): Promise<void> {
  signal?.throwIfAborted()
  const unfinished = `${dir}${UNFINISHED}${process.pid}`
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  const [file, ...all] = command('initdb', ['-D', unfinished, '-U', 'postgres', ...locale, ...args])
  // Its own group: Ctrl-C reaches only the service.
  const initdb = spawn(file, all, { env, cwd: '/', detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  endWithThisProcess(initdb)
  let output = ''
  initdb.stderr.setEncoding('utf8').on('data', text => {
    output += text
  })
  const end = () => initdb.kill()
  signal?.addEventListener('abort', end)
  try {
    const [code, by] = await once(initdb, 'close')
    if (code !== 0) throw new Error(output || `ended with ${by ?? code}`)
    await rename(unfinished, dir)
    // Otherwise a power cut may undo the renaming, and the next start would remove the data as unfinished.
    await syncDirectory(dirname(dir))
  } catch (err) {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 10 })
    signal?.throwIfAborted()
    const lines = (err instanceof Error ? err.message : String(err)).trim().split('\n').slice(-LINES).join(' / ')
    throw new StartError(`initdb failed, correct this or set DATABASE_URL: ${lines}`, { cause: err })
  } finally {
    signal?.removeEventListener('abort', end)
  }
}

/** Removes what killed processes left of making a cluster in `dir`. Only for the process that holds the lock. */
export async function removeUnfinished(dir: string): Promise<void> {
  for (const name of await readdir(dirname(dir))) {
    if (!name.startsWith(`${basename(dir)}${UNFINISHED}`)) continue
    // An initdb that outlived its service may still write there until it ends: then a later start removes the rest.
    await rm(join(dirname(dir), name), { recursive: true, force: true }).catch(() => undefined)
  }
}
