/** A lock that lives as long as its holder: it is named after a process, so a `kill -9` leaves nothing to clean. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Two that start in the same instant see each other and both step back; a few tries decide between them. */
const ATTEMPTS = 5

export interface ProcessLock {
  /** Gives the lock back. Idempotent. */
  release(): Promise<void>
}

/** Another live process holds the lock. */
export class LockHeldError extends Error {
  override name = 'LockHeldError'
  readonly pid: number

  constructor(pid: number) {
    super(`the lock is held by process ${pid}`)
    this.pid = pid
  }
}

/**
 * Takes the lock kept in `dir` (made when absent) for this process.
 *
 * Everybody first writes a file named after himself, then looks for others that are alive: of two rivals at least the
 * later one sees the other, so both never hold it. Entries of dead processes are removed in passing.
 *
 * @throws LockHeldError when a live process, this one included, holds it
 */
export async function acquireProcessLock(dir: string): Promise<ProcessLock> {
  const self = await processIdentity(process.pid)
  if (self === undefined) throw new Error('cannot read the start time of this process')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const entry = join(dir, self)

  for (let attempt = 1; ; attempt++) {
    try {
      await writeFile(entry, '', { flag: 'wx' })
    } catch (err) {
      if (errorCode(err) === 'EEXIST') throw new LockHeldError(process.pid)
      throw err
    }
    const rival = await liveRival(dir, self)
    if (rival === undefined) return { release: () => rm(entry, { force: true }) }
    await rm(entry, { force: true })
    if (attempt === ATTEMPTS) throw new LockHeldError(rival)
    await delay(20 + Math.random() * 60)
  }
}

async function liveRival(dir: string, self: string): Promise<number | undefined> {
  for (const name of await readdir(dir)) {
    if (name === self || isOutOfSight(name, self)) continue
    const pid = Number(name.split('.')[0])
    if (Number.isInteger(pid) && (await processIdentity(pid)) === name) return pid
    await rm(join(dir, name), { force: true })
  }
  return undefined
}

/** Whether an entry is of another container on this machine: alive or not, its process cannot be seen from here. */
function isOutOfSight(name: string, self: string): boolean {
  const [, , boot, namespace] = name.split('.')
  const [, , ownBoot, ownNamespace] = self.split('.')
  return namespace !== undefined && boot === ownBoot && namespace !== ownNamespace
}

/**
 * Names a process so that neither a recycled pid nor a reboot can be taken for it: pid, start time, boot, pid namespace.
 * @returns undefined when there is no such process, or only its zombie
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (pid <= 0) return undefined
  return process.platform === 'linux' ? linuxIdentity(pid) : psIdentity(pid)
}

async function linuxIdentity(pid: number): Promise<string | undefined> {
  try {
    const [stat, boot, namespace] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
      readlink('/proc/self/ns/pid')
    ])
    // The command name, in parentheses, may itself hold spaces and parentheses: count from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state, startTime] = [fields[0], fields[19]]
    return state === 'Z' || state === 'X'
      ? undefined
      : `${pid}.${startTime}.${boot.trim()}.${namespace.replace(/\D/g, '')}`
  } catch (err) {
    if (errorCode(err) === 'ENOENT' || errorCode(err) === 'ESRCH') return undefined
    throw err
  }
}

async function psIdentity(pid: number): Promise<string | undefined> {
  try {
    const { stdout } = await run('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env: { LC_ALL: 'C', TZ: 'UTC' } })
    const [state, ...startTime] = stdout.trim().split(/\s+/)
    return state === undefined || state.startsWith('Z') ? undefined : `${pid}.${startTime.join('-')}`
  } catch {
    // ps ends with status 1 when no process matches.
    return undefined
  }
}

/** The `code` of a system error, for `catch (err)` clauses that tell one failure from another. */
export function errorCode(err: unknown): string | undefined {
  return err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : undefined
}
