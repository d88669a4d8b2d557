import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Database } from '../../src/database/database.ts'
import { asUnavailable, failureOf, isServerFailure } from '../../src/database/failure.ts'
import { migrate } from '../../src/database/migrate.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { codeOf } from '../support/code-of.ts'
import { createTestDatabase } from '../support/database.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startTestPostgres } from '../support/postgres.ts'

function opened(t: Test, url: string, max = 2) {
  const { lines, logger } = captureLog()
  const database = new Database({ max, applicationName: 'test', log: logger })
  database.open(url)
  t.teardown(() => database.close(0))
  return { database, lines }
}

/** A server that accepts every connection and never answers. */
async function unresponsiveServer(t: Test) {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.resume())
    socket.on('error', () => sockets.delete(socket))
    socket.on('close', () => sockets.delete(socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return { url: `postgres://nobody@127.0.0.1:${port}/none`, sockets }
}

t.test('a call to an unresponsive server ends at its deadline, and the pool is replaced once', async t => {
  const { url, sockets } = await unresponsiveServer(t)
  const { database, lines } = opened(t, url)
  const calls = await Promise.allSettled([1, 2, 3].map(() => database.run(sql => sql`select 1`, { deadlineMs: 50 })))
  for (const call of calls) {
    t.equal(call.status, 'rejected')
    if (call.status === 'rejected') t.match(call.reason, { name: 'DatabaseUnavailableError', code: 'database_timeout' })
  }
  t.equal(lines.filter(({ msg }) => msg === 'database pool replaced').length, 1)
  await database.close(0)
  while (sockets.size > 0) await new Promise(resolve => setTimeout(resolve, 10))
  t.pass('no connection to the unresponsive server stays open')
})

t.test('refused connections do not replace the pool: it works as soon as the server is back', async t => {
  const postgres = await startTestPostgres(t)
  const { database, lines } = opened(t, postgres.url)
  const ask = () => database.run(sql => sql`select 1`)
  await ask()
  await postgres.stop()
  for (let i = 0; i < 10; i++) await t.rejects(ask(), { code: 'database_unreachable' })
  const together = await Promise.allSettled(Array.from({ length: 10 }, ask))
  t.ok(together.every(({ status }) => status === 'rejected'))
  await postgres.start()
  await ask()
  t.notOk(lines.find(({ msg }) => msg === 'database pool replaced'))
})

t.test('with several addresses the one that answers is used, in either order', async t => {
  const { username, password, host, pathname } = new URL((await startTestPostgres(t)).url)
  for (const hosts of [`127.0.0.1:1,${host}`, `${host},127.0.0.1:1`]) {
    const { database } = opened(t, `postgres://${username}:${password}@${hosts}${pathname}`)
    assertRows(t, await database.run(sql => sql`select 1 as one`), [{ one: 1 }], hosts.replace(host, 'the server'))
  }
})

t.test('an address without a server is unreachable, an unknown database is refused', async t => {
  const { database } = opened(t, 'postgres://nobody@127.0.0.1:1/none')
  await t.rejects(
    database.run(sql => sql`select 1`),
    { code: 'database_unreachable' }
  )

  const { url } = await createTestDatabase(t)
  const { database: other } = opened(t, url.replace(/\/[^/]*$/, '/there_is_no_such_database'))
  await t.rejects(
    other.run(sql => sql`select 1`),
    { code: 'database_refused' }
  )
})

t.test('without an address every call is rejected at once, not queued', async t => {
  const database = new Database({ max: 1, applicationName: 'test', log: captureLog().logger })
  await t.rejects(
    database.run(sql => sql`select 1`),
    { code: 'database_unreachable' }
  )
  await database.close()
})

t.test('the error of a statement is passed on unchanged', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url)
  const fail = () => database.run(sql => sql`select 1 / 0`)
  await t.rejects(fail(), { name: 'PostgresError' })
  t.equal(await codeOf(fail()), '22012')
})

t.test('a transaction is committed completely or not at all', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url)
  await database.run(sql => sql`create table kept (x int)`)
  await t.rejects(
    database.transaction(async tx => {
      await tx`insert into kept values (1)`
      throw new Error('no')
    }),
    { message: 'no' }
  )
  await database.transaction(tx => tx`insert into kept values (2)`)
  t.strictSame(
    (await database.run(sql => sql`select x from kept`)).map(({ x }) => x),
    [2]
  )
})

t.test('a wait for a lock that exceeds the deadline ends the transaction, and does not replace the pool', async t => {
  const { url } = await createTestDatabase(t)
  const { database, lines } = opened(t, url)
  // Both connections are open, so that the deadline applies to the lock only.
  await Promise.all([1, 2].map(() => database.run(sql => sql`select pg_sleep(0.05)`)))
  await database.transaction(async holder => {
    await holder`select pg_advisory_xact_lock(7)`
    const waiter = database.transaction(tx => tx`select pg_advisory_xact_lock(7)`, { deadlineMs: 100 })
    t.equal(await codeOf(waiter), 'database_timeout')
  })
  t.notOk(lines.find(({ msg }) => msg === 'database pool replaced'))
})

t.test('a call that waits for a busy pool misses its deadline, and the others are answered', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url)
  const busy = Array.from({ length: 24 }, () => database.run(sql => sql`select pg_sleep(0.1)`))
  t.equal(await codeOf(database.run(sql => sql`select 1`, { deadlineMs: 500 })), 'database_timeout')
  const answers = await Promise.allSettled(busy)
  t.strictSame(
    answers.filter(({ status }) => status === 'rejected'),
    []
  )
  t.equal(database.usage().replacements, 0)
})

t.test('a pool that is busy for longer than a deadline is not replaced, 200 ms from the database', async t => {
  const server = await startTestPostgres(t)
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(server.url).port) })
  await proxy.setConditions({ delayMs: 100 })
  const { database } = opened(t, proxy.url(server.url), 4)
  // Each holds a connection for at least four round trips; the last ones begin after three seconds.
  const transactions = Array.from({ length: 20 }, () =>
    database.transaction(
      async tx => {
        for (let i = 0; i < 3; i++) await tx`select 1`
      },
      { deadlineMs: 60_000 }
    )
  )
  t.equal(await codeOf(database.run(sql => sql`select 1`, { deadlineMs: 2_500 })), 'database_timeout')
  const answers = await Promise.allSettled(transactions)
  t.equal(answers.filter(({ status }) => status === 'fulfilled').length, 20)
  t.equal(database.usage().replacements, 0)
})

t.test('a connection that is dead without an error replaces a pool that answers other calls', async t => {
  const server = await startTestPostgres(t)
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(server.url).port) })
  const { database } = opened(t, proxy.url(server.url))
  await database.run(sql => sql`select 1`)
  await proxy.halfOpen()
  const lost = codeOf(database.run(sql => sql`select 1`, { deadlineMs: 500 }))
  // The pool opens its second connection for it.
  assertRows(t, await database.run(sql => sql`select 2 as two`), [{ two: 2 }])
  t.equal(await lost, 'database_timeout')
  t.equal(database.usage().replacements, 0)
  while (database.usage().replacements === 0) await new Promise(resolve => setTimeout(resolve, 50))
  assertRows(t, await database.run(sql => sql`select 3 as three`), [{ three: 3 }])
})

t.test('replicas that migrate at the same time apply each migration once', async t => {
  const { url } = await createTestDatabase(t)
  const replicas = [1, 2, 3, 4].map(() => opened(t, url).database)
  const applied = await Promise.all(replicas.map(migrate))
  t.equal(applied.filter(files => files.length > 0).length, 1)
  const [first] = replicas
  t.strictSame(first && (await migrate(first)), [], 'a second call applies nothing')
})

t.test('a schema that is newer than this version is not changed', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url)
  await migrate(database)
  await database.run(
    sql => sql`insert into schema_version (version, name, md5, run_at) values (900, 'later', '', now())`
  )
  t.strictSame(await migrate(database), [])
})

t.test('every failure of the database has one code', async t => {
  const error = (code: string, name = 'Error') => Object.assign(new Error(code), { code, name })
  for (const [err, code] of [
    [error('ECONNREFUSED'), 'database_unreachable'],
    [error('ENOENT'), 'database_unreachable'],
    [error('CONNECTION_CLOSED'), 'database_unreachable'],
    [error('57P01', 'PostgresError'), 'database_unreachable'],
    [error('DEADLINE'), 'database_timeout'],
    [error('ETIMEDOUT'), 'database_timeout'],
    [error('28P01', 'PostgresError'), 'database_refused'],
    [error('53300', 'PostgresError'), 'database_refused'],
    [error('57P03', 'PostgresError'), 'database_refused'],
    [error('57P04', 'PostgresError'), 'database_refused'],
    [error('25006', 'PostgresError'), 'database_read_only'],
    [error('42P01', 'PostgresError'), 'schema_incompatible'],
    [error('42703', 'PostgresError'), 'schema_incompatible'],
    [error('53100', 'PostgresError'), 'database_failing'],
    [error('58P01', 'PostgresError'), 'database_failing'],
    [error('XX001', 'PostgresError'), 'database_failing'],
    [Object.assign(error('58P01', 'PostgresError'), { severity: 'FATAL' }), 'database_refused'],
    [error('55P03', 'PostgresError'), 'database_timeout'],
    [error('57014', 'PostgresError'), 'database_timeout']
  ] as const) {
    t.equal(failureOf(err), code, err.message)
    t.match(asUnavailable(err), { name: 'DatabaseUnavailableError', code, cause: err })
  }
  for (const err of [error('23505', 'PostgresError'), error('FST_ERR'), new Error('x'), 'text']) {
    t.equal(asUnavailable(err), err)
  }
})

t.test('a temporary failure of the server is distinguished from an error of the statement', async t => {
  const error = (code: string, name = 'PostgresError') => Object.assign(new Error(code), { code, name })
  for (const code of [
    '25006',
    '53100',
    '53200',
    '57014',
    '55P03',
    '57P01',
    '57P03',
    '58P01',
    'XX000',
    '42P01',
    '42703'
  ]) {
    t.equal(isServerFailure(error(code)), true, code)
  }
  for (const code of ['23505', '22012', '40P01']) t.equal(isServerFailure(error(code)), false, code)
  for (const code of ['ECONNREFUSED', 'DEADLINE', 'CONNECTION_CLOSED']) {
    t.equal(isServerFailure(error(code, 'Error')), false, code)
  }
})

t.test('failures of the server are counted by the kind of call', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url)
  const changes: boolean[] = []
  database.watch({ isAnswering: () => true, onChange: ({ failing }) => changes.push(failing) })
  const lost = () => database.transaction(tx => tx`select from lost`)
  const healthy = () => database.run(sql => sql`select 1`)
  for (let i = 0; i < 3; i++) {
    t.strictSame(changes, [])
    await t.rejects(lost(), { code: 'schema_incompatible' })
    await healthy()
  }
  t.strictSame(changes, [true], 'a success of another kind of call does not end it')
  for (let i = 0; i < 3; i++) {
    await t.rejects(database.run(sql => sql`select 1 / 0`))
  }
  await database.run(sql => sql`create table lost ()`)
  t.strictSame(changes, [true])
  await lost()
  t.strictSame(changes, [true, false])
})

t.test('a call that misses its deadline counts only while the database answers its check', async t => {
  const { url } = await unresponsiveServer(t)
  for (const isAnswering of [false, true]) {
    const { database } = opened(t, url)
    const changes: boolean[] = []
    database.watch({ isAnswering: () => isAnswering, onChange: ({ failing }) => changes.push(failing) })
    for (let i = 0; i < 3; i++) {
      await t.rejects(
        database.run(sql => sql`select 1`, { deadlineMs: 20 }),
        { code: 'database_timeout' }
      )
    }
    t.strictSame(changes, isAnswering ? [true] : [])
  }
})

t.test(
  'calls that may be slow do not count when they miss their deadline, and count for every other reason',
  async t => {
    const { url } = await createTestDatabase(t)
    const { database } = opened(t, url)
    const changes: boolean[] = []
    database.watch({ isAnswering: () => true, onChange: ({ failing }) => changes.push(failing) })
    const slow = { mayBeSlow: true, kind: 'slow' }
    for (let i = 0; i < 3; i++) {
      // Cancelled by the server, and not ended by it.
      const cancelled = database.transaction(tx => tx`select pg_sleep(60)`, { ...slow, deadlineMs: 50 })
      await t.rejects(cancelled, { code: 'database_timeout' })
      await t.rejects(
        database.run(sql => sql`select pg_sleep(0.2)`, { ...slow, deadlineMs: 50 }),
        { code: 'database_timeout' }
      )
    }
    t.strictSame(changes, [])
    for (let i = 0; i < 3; i++) {
      await t.rejects(
        database.transaction(tx => tx`select from lost`, slow),
        { code: 'schema_incompatible' }
      )
    }
    t.strictSame(changes, [true])
  }
)

t.test('a pool whose sessions are read-only is replaced', async t => {
  const { url } = await createTestDatabase(t)
  const { database } = opened(t, url, 1)
  await database.run(sql => sql`create table kept (x int)`)
  await database.run(sql => sql.unsafe('set default_transaction_read_only = on'))
  const write = () => database.run(sql => sql`insert into kept values (1)`)
  await t.rejects(write(), { code: 'database_read_only' })
  await write()
  t.equal(database.usage().replacements, 1)
})
