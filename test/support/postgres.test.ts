import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { assertRows } from './assert-rows.ts'
import { codeOf } from './code-of.ts'
import { spawnNode } from './node-process.ts'
import { startTestPostgres } from './postgres.ts'
import { processesIn } from './process-tree.ts'

function client(t: Test, url: string, max = 1): postgres.Sql {
  const sql = postgres(url, { max, connect_timeout: 60, fetch_types: false, backoff: () => 0.05, onnotice: () => {} })
  t.teardown(() => sql.end({ timeout: 0 }))
  return sql
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(20)
}

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'trading-health-support-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test('a private server keeps its URL and its data across stop and start', async t => {
  const server = await startTestPostgres(t)
  const sql = client(t, server.url)
  await sql`create table kept as select 42 as answer`

  await server.stop()
  await server.stop()
  await t.rejects(sql`select 1`, 'connections are refused while it is stopped')
  await server.start()
  assertRows(t, await sql`select answer from kept`, [{ answer: 42 }])
  await server.restart()
  assertRows(t, await server.query('select 1 as one'), [{ one: 1 }])
})

t.test('a private server requires its password, except from its superuser', async t => {
  const server = await startTestPostgres(t)
  assertRows(t, await client(t, server.url)`select rolsuper from pg_roles where rolname = current_user`, [
    { rolsuper: false }
  ])
  await server.query(`alter role trading password 'another'`)
  t.equal(await codeOf(client(t, server.url)`select 1`), '28P01')
})

t.test('with TLS, a TCP connection needs TLS and the password, and its certificate can be verified', async t => {
  const server = await startTestPostgres(t, { tls: true })
  const session = `select ssl, current_user::text as name from pg_stat_ssl where pid = pg_backend_pid()`
  t.strictSame([...(await client(t, server.url).unsafe(session))], [{ ssl: true, name: 'trading' }])

  const { caFile } = server
  if (caFile === undefined) throw new Error('no CA')
  const ca = await readFile(caFile, 'utf8')
  for (const name of ['127.0.0.1', 'localhost']) {
    const { port, username, password, pathname } = new URL(server.url)
    const verified = postgres({
      ...{ host: name, port: Number(port), user: username, pass: password, database: pathname.slice(1) },
      ...{ ssl: { ca, servername: name }, max: 1, fetch_types: false }
    })
    t.teardown(() => verified.end({ timeout: 0 }))
    t.strictSame([...(await verified.unsafe(session))], [{ ssl: true, name: 'trading' }], name)
  }

  const plain = new URL(server.url)
  plain.search = ''
  t.equal(await codeOf(client(t, plain.href)`select 1`), '28000', 'without TLS')
  const wrong = new URL(server.url)
  wrong.password = 'another'
  t.equal(await codeOf(client(t, wrong.href)`select 1`), '28P01', 'with another password')
  t.equal((await server.query('show password_encryption'))[0]?.password_encryption, 'scram-sha-256')
})

t.test('all connections of a private server can be occupied, except those for the superuser', async t => {
  const server = await startTestPostgres(t, { maxConnections: 6 })
  const hungry = client(t, server.url, 3)
  await Promise.all([1, 2, 3].map(() => hungry`select pg_sleep(0.05)`))
  t.equal(await codeOf(client(t, server.url)`select 1`), '53300')
  assertRows(t, await server.query('select 1 as one'), [{ one: 1 }])
})

t.test('a frozen server accepts connections and does not answer, until it is thawed', async t => {
  const server = await startTestPostgres(t)
  const sql = client(t, server.url)
  await sql`select 1`
  await server.freeze()
  let answered = false
  const answer = sql`select 1 as one`.then(rows => {
    answered = true
    return rows
  })
  const { port } = new URL(server.url)
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
  t.notOk(answered)
  await server.thaw()
  assertRows(t, await answer, [{ one: 1 }])
  await server.freeze()
  t.comment('the teardown runs while it is frozen')
})

t.test('a private server ends after the process that started it', async t => {
  const dir = await scratch(t)
  const support = fileURLToPath(new URL('./postgres.js', import.meta.url))
  const script = join(dir, 'owner.mjs')
  await writeFile(
    script,
    `import { startTestPostgres } from ${JSON.stringify(support)}
     const server = await startTestPostgres({ teardown() {} })
     await server.freeze()
     console.log('frozen')
     setInterval(() => {}, 1000)`
  )
  const child = spawnNode(script, [], { stdio: ['ignore', 'pipe', 'inherit'], env: { TMPDIR: dir } })
  if (child.stdout) await once(child.stdout, 'data')
  t.not((await processesIn(dir)).length, 1)
  child.kill('SIGKILL')
  await until(async () => (await processesIn(dir)).length === 0)
  t.strictSame(await readdir(dir), ['owner.mjs'], 'its data are removed')
})

t.test('the shared server ends after the last process that uses it has ended in any way', async t => {
  const dir = await scratch(t)
  const keeper = fileURLToPath(new URL('./postgres-keeper.js', import.meta.url))
  const child = spawnNode(keeper, [dir, '200'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(child, 'exit')
  const first = await joined(dir)
  const secondKeeper = spawnNode(keeper, [dir], { stdio: 'ignore' })
  t.strictSame(await once(secondKeeper, 'exit'), [0, null], 'a second keeper ends at once')
  const second = await joined(dir)
  first.destroy()
  assertRows(t, await client(t, second.url)`select 1 as one`, [{ one: 1 }])
  second.destroy()
  t.strictSame(await ended, [0, null])
  t.strictSame(await processesIn(dir), [])
  await t.rejects(stat(join(dir, 'data')), { code: 'ENOENT' })
})

async function joined(dir: string): Promise<{ url: string; destroy(): void }> {
  for (;;) {
    const socket: Socket = connect(join(dir, 'keeper.sock'))
    try {
      await once(socket, 'connect')
      const [url] = await once(socket, 'data')
      return { url: String(url).trim(), destroy: () => socket.destroy() }
    } catch {
      // Not listening yet.
      await delay(20)
    }
  }
}
