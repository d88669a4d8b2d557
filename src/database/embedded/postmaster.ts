/** A Postgres cluster: made by initdb, launched, found, stopped. It supervises nothing: see embedded.ts. */
import { constants } from 'node:fs'
import { lchown, mkdir, mkdtemp, open, readdir, readFile, readlink, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Installation, lastLines, type Runner, runBinary, signalProcess, spawnBinary } from './binaries.ts'
import { errorCode, processIdentity } from './process-lock.ts'

const SECOND = 1000
const STATUS_POLL = 20
/** Generous, for it includes the recovery after a crash. */
const START_DEADLINE = 60 * SECOND
const FAST_SHUTDOWN = 10 * SECOND
const IMMEDIATE_SHUTDOWN = 5 * SECOND

/** The longest path of a unix socket: `sun_path` on Linux less its closing zero. */
const SOCKET_PATH_BYTES = 107

/**
 * The comma is for tests, which hand `socketUrl` to postgres.js as it is: its parser decodes a host only where it holds
 * a comma. Versions up to 0.1 named the directory otherwise; their servers may still run.
 */
const SOCKET_DIR = 's,'
const FORMER_SOCKET_DIR = 's,:5432'
const SOCKET_PARENT = 'trading-health-pg-'

export type ServerSettings = Record<string, string | number>

/**
 * Made for a service with a pool of ten and a machine that has other things to do: little shared memory, no helper
 * processes for replication, parallel queries or I/O. Given as arguments, for they belong to this version of the
 * service, not to the data.
 */
const SETTINGS: ServerSettings = {
  listen_addresses: '',
  port: 5432,
  unix_socket_permissions: '0700',
  max_connections: 50,
  shared_buffers: '32MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_logical_replication_workers: 0,
  max_parallel_workers: 0,
  io_method: 'sync',
  log_checkpoints: 'off',
  // A statement that failed, and the row it failed on, may hold a secret.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  timezone: 'UTC',
  log_timezone: 'UTC'
}

/**
 * Makes a new cluster in `dir`: UTF-8, the built-in C.UTF-8 locale, superuser `postgres`. It is made beside `dir` and
 * renamed, so that what is found in `dir` is whole, whenever this process is killed: see `removeRemains`.
 * @param auth arguments of initdb that say who may connect
 */
export async function initCluster(
  installation: Installation,
  dir: string,
  auth: string[],
  signal?: AbortSignal
): Promise<void> {
  const fresh = await mkdtemp(unfinished(dir))
  try {
    await giveTo(installation.runner, fresh)
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
    const args = ['-D', fresh, '-U', 'postgres', ...locale, ...auth, '--no-instructions']
    await runBinary(installation, 'initdb', args, signal)
    await rename(fresh, dir)
  } catch (err) {
    await removeTree(fresh)
    throw err
  }
}

/**
 * Removes what killed processes have left of making a cluster in `dir`. For the owner of `dir` alone: nobody else may
 * be making one. An initdb outlives the process that began it, so something may turn up again until it ends.
 */
export async function removeRemains(dir: string): Promise<void> {
  const parent = dirname(dir)
  for (const name of await readdir(parent)) {
    if (join(parent, name).startsWith(unfinished(dir))) await removeTree(join(parent, name))
  }
}

function unfinished(dir: string): string {
  return `${dir}.init-`
}

/** An initdb that was left behind may still be writing there: try again for a while. */
async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10 })
}

/** Hands a path, with all that is in it, to the user the server runs as. */
export async function giveTo(runner: Runner, path: string): Promise<void> {
  if (runner.kind !== 'user') return
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    await lchown(join(entry.parentPath, entry.name), runner.uid, runner.gid)
  }
  await lchown(path, runner.uid, runner.gid)
}

/**
 * A private directory for the server's socket: in `home`, or in the temporary directory when `home` is too deep for
 * the path of a socket or holds a comma.
 */
export async function makeSocketDir(home: string, runner: Runner): Promise<string> {
  const inHome = join(home, SOCKET_DIR)
  const fits = Buffer.byteLength(join(inHome, '.s.PGSQL.5432')) <= SOCKET_PATH_BYTES && !home.includes(',')
  const parent = fits ? home : await mkdtemp(join(tmpdir(), SOCKET_PARENT))
  const path = join(parent, SOCKET_DIR)
  await mkdir(path, { recursive: true, mode: 0o700 })
  await giveTo(runner, fits ? path : parent)
  return path
}

/** Removes what makeSocketDir made, by its path. Idempotent. */
export async function removeSocketDir(path: string): Promise<void> {
  if (![SOCKET_DIR, FORMER_SOCKET_DIR].includes(basename(path))) return
  const parent = dirname(path)
  await rm(basename(parent).startsWith(SOCKET_PARENT) ? parent : path, { recursive: true, force: true })
}

/** The URL of `database` as superuser over the socket in `dir`, for `createClient`. */
export function socketUrl(dir: string, database = 'postgres'): string {
  return `postgres://postgres@${encodeURIComponent(dir)}/${encodeURIComponent(database)}`
}

/** A running postmaster, ours or found. */
export interface Postmaster {
  pid: number
  /** Resolves with a word on how it ended. Never rejects. */
  exited: Promise<string>
}

export interface LaunchOptions {
  installation: Installation
  /** Of the cluster. */
  dir: string
  /** Of makeSocketDir. */
  socketDir: string
  /** stderr is appended there. */
  logFile: string
  /** Beside the defaults of this file. */
  settings?: ServerSettings
  signal?: AbortSignal | undefined
}

/**
 * Launches the server and waits until it accepts connections.
 * @throws Error with what the server said when it ends before that, or after a minute; the server is then gone
 */
export async function launchPostmaster(options: LaunchOptions): Promise<Postmaster> {
  const { dir, logFile, signal } = options
  // Root may write in a directory of another user's here, who must not lead it elsewhere.
  const log = await open(
    logFile,
    constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600
  )
  const logStart = (await log.stat()).size
  let postmaster: Postmaster
  try {
    const { runner } = options.installation
    if (runner.kind === 'user') await log.chown(runner.uid, runner.gid)
    postmaster = await spawnPostmaster(options, log.fd)
  } finally {
    await log.close()
  }
  let end: string | undefined
  void postmaster.exited.then(word => {
    end = word
  })
  const deadline = Date.now() + START_DEADLINE
  while (!signal?.aborted && end === undefined && Date.now() < deadline) {
    const found = await readPostmasterPid(dir)
    if (found?.pid === postmaster.pid && found.status === 'ready') return postmaster
    await delay(STATUS_POLL)
  }
  await stopPostmaster(postmaster)
  signal?.throwIfAborted()
  const said = (await readFile(logFile)).subarray(logStart).toString()
  throw new Error(`postgres ${end ?? 'was not ready within a minute'}: ${lastLines(said)}`)
}

async function spawnPostmaster(
  { installation, dir, socketDir, settings }: LaunchOptions,
  log: number
): Promise<Postmaster> {
  // A list, in which commas separate unless quoted.
  const sockets = `"${socketDir.replaceAll('"', '""')}"`
  const all = { ...SETTINGS, ...settings, unix_socket_directories: sockets }
  const args = ['-D', dir, ...Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`])]
  const child = spawnBinary(installation, 'postgres', args, ['ignore', log, log])
  const exited = new Promise<string>(resolve => {
    child.once('error', err => resolve(err.message))
    child.once('exit', (code, by) => resolve(`ended with ${by ?? code}`))
  })
  if (child.pid === undefined) throw new Error(`postgres cannot be run: ${await exited}`)
  // A server must not keep alive a process that has nothing else to do.
  child.unref()
  return known({ pid: child.pid, exited })
}

/** The servers that this process has launched or adopted and that have not ended, starting ones included. */
const pids = new Set<number>()

function known(postmaster: Postmaster): Postmaster {
  pids.add(postmaster.pid)
  // Afterwards the pid may belong to another process.
  void postmaster.exited.then(() => pids.delete(postmaster.pid))
  return postmaster
}

/**
 * Asks every server of this process for a fast shutdown and returns at once: for a process that exits. A start waits for
 * the end of the former server. Idempotent.
 */
export function interruptPostmasters(): void {
  for (const pid of pids) signalProcess(pid, 'SIGINT')
}

/**
 * Stops a postmaster: a fast shutdown (open transactions are rolled back), after 10 s an immediate one (recovered at
 * the next start), after 5 s more SIGKILL. Idempotent.
 */
export async function stopPostmaster({ pid, exited }: Postmaster): Promise<void> {
  const steps = [
    ['SIGINT', FAST_SHUTDOWN],
    ['SIGQUIT', IMMEDIATE_SHUTDOWN],
    ['SIGKILL', IMMEDIATE_SHUTDOWN]
  ] as const
  let ended = false
  const end = exited.then(() => {
    ended = true
  })
  // Lets an end that is known already be heard, before a signal goes to a pid that may have a new owner.
  await Promise.race([end, Promise.resolve()])
  for (const [signal, patience] of steps) {
    if (ended || !signalProcess(pid, signal)) return
    // A frozen process acts on no other signal but SIGKILL.
    signalProcess(pid, 'SIGCONT')
    const timer = new AbortController()
    await Promise.race([end, delay(patience, undefined, { signal: timer.signal }).catch(() => {})])
    timer.abort()
  }
}

export interface PostmasterPid {
  pid: number
  socketDir: string
  /** `starting`, `ready`, `stopping`, … */
  status: string
}

/** Reads `postmaster.pid` of a cluster. @returns undefined when there is none, or it is just being written */
export async function readPostmasterPid(dir: string): Promise<PostmasterPid | undefined> {
  let lines: string[]
  try {
    lines = (await readFile(join(dir, 'postmaster.pid'), 'utf8')).split('\n')
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return undefined
    throw err
  }
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  return { pid, socketDir: lines[4] ?? '', status: (lines[7] ?? '').trim() }
}

/** Whether the process is a postmaster of the cluster in `dir` (a real path), and not one that got its pid later. */
export async function isPostmasterOf(pid: number, dir: string): Promise<boolean> {
  if ((await processIdentity(pid)) === undefined) return false
  // Elsewhere the connection that follows has to tell.
  return process.platform !== 'linux' || (await proc(pid, 'cwd')) === dir
}

/**
 * Removes what a dead postmaster left: its pid file, which may name a stranger by now, and backends that have not
 * noticed (busy, or frozen), for as long as which no other server can start. Only for who owns the cluster.
 */
export async function clearRemains(dir: string): Promise<void> {
  await rm(join(dir, 'postmaster.pid'), { force: true })
  if (process.platform !== 'linux') return
  const left: number[] = []
  for (const pid of (await readdir('/proc')).map(Number).filter(Number.isInteger)) {
    const [cwd, exe] = await Promise.all([proc(pid, 'cwd'), proc(pid, 'exe')])
    // A reinstalled package makes it `postgres (deleted)`; anything else is the shell of someone who looks around.
    if (cwd === dir && basename(exe ?? '').startsWith('postgres')) left.push(pid)
  }
  for (const pid of left) signalProcess(pid, 'SIGKILL')
  const deadline = Date.now() + IMMEDIATE_SHUTDOWN
  for (const pid of left) {
    while ((await processIdentity(pid)) !== undefined && Date.now() < deadline) await delay(STATUS_POLL)
  }
}

/** A link in /proc. @returns undefined for a process that is gone, or somebody else's, as the server never is */
async function proc(pid: number, link: 'cwd' | 'exe'): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${pid}/${link}`)
  } catch (err) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errorCode(err) ?? '')) return undefined
    throw err
  }
}

/** A postmaster that is not our child: whether it has ended is looked up four times a second. */
export function watchPostmaster(pid: number, dir: string): Postmaster {
  const exited = new Promise<string>(resolve => {
    const timer = setInterval(async () => {
      if (await isPostmasterOf(pid, dir).catch(() => true)) return
      clearInterval(timer)
      resolve('is gone')
    }, SECOND / 4)
    timer.unref()
  })
  return known({ pid, exited })
}
