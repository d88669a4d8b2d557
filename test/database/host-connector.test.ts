import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { type Client, createClient } from '../../src/database/client.ts'
import { DatabaseCheck } from '../../src/database/database-check.ts'
import { failureOf } from '../../src/database/failure.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { settled } from '../support/settled.ts'

/** Longer than a busy machine needs for a connection. Only the tests of unresponsive hosts wait for its end. */
const CONNECT_TIMEOUT_MS = 30_000
const SILENT_HOST_MS = 4_000

function open(t: Test, url: string, { max = 1, connectTimeoutMs = CONNECT_TIMEOUT_MS } = {}): Client {
  const client = createClient(url, { max, applicationName: 'test', connectTimeoutMs })
  t.teardown(() => client.destroy())
  return client
}

/** The given URL with other hosts, parameters added. */
function withHosts(url: string, hosts: string, parameters = ''): string {
  const { username, password, pathname } = new URL(url)
  return `postgres://${username}:${password}@${hosts}${pathname}${parameters}`
}

const hostOf = (url: string) => new URL(url).host

/** The result of a statement, or the name of the failure with its code. */
async function outcome({ sql }: Client) {
  const { value, error } = await settled(
    sql<{ ssl: boolean; port: number }[]>`
      select ssl, (select setting::int from pg_settings where name = 'port') as port
      from pg_stat_ssl where pid = pg_backend_pid()`
  )
  if (value) return { ssl: value[0]?.ssl, port: value[0]?.port }
  return { failure: failureOf(error), code: error instanceof Error && 'code' in error ? error.code : undefined }
}

t.test('sslmode has the same effect as in libpq', async t => {
  const [plain, tls] = await Promise.all([startTestPostgres(t), startTestPostgres(t, { tls: true })])
  const port = (url: string) => Number(new URL(url).port)
  const cases: [server: string, host: string, parameters: string, expected: object][] = [
    ['plain', '127.0.0.1', '', { ssl: false }],
    ['plain', '127.0.0.1', '?sslmode=disable', { ssl: false }],
    ['plain', '127.0.0.1', '?sslmode=prefer', { ssl: false }],
    ['plain', '127.0.0.1', '?sslmode=require', { failure: 'database_refused', code: 'TLS_REFUSED' }],
    ['tls', '127.0.0.1', '', { ssl: true }],
    ['tls', '127.0.0.1', '?sslmode=disable', { failure: 'database_refused', code: '28000' }],
    ['tls', '127.0.0.1', '?sslmode=require', { ssl: true }],
    ['tls', '127.0.0.1', `?sslmode=verify-full&sslrootcert=${tls.caFile}`, { ssl: true }],
    ['tls', 'localhost', `?sslmode=verify-full&sslrootcert=${tls.caFile}`, { ssl: true }],
    ['tls', '127.0.0.1', `?sslmode=verify-ca&sslrootcert=${tls.caFile}`, { ssl: true }],
    // Another spelling of 127.0.0.1, for which the certificate is not valid.
    ['tls', '127.1', `?sslmode=verify-ca&sslrootcert=${tls.caFile}`, { ssl: true }],
    [
      'tls',
      '127.1',
      `?sslmode=verify-full&sslrootcert=${tls.caFile}`,
      { failure: 'database_refused', code: 'ERR_TLS_CERT_ALTNAME_INVALID' }
    ],
    ['tls', '127.0.0.1', '?sslmode=verify-ca', { failure: 'database_refused' }],
    ['tls', '127.0.0.1', '?sslmode=verify-full', { failure: 'database_refused' }]
  ]
  for (const [server, host, parameters, expected] of cases) {
    const { url } = server === 'tls' ? tls : plain
    const { failure, code, ssl } = (await outcome(open(t, withHosts(url, `${host}:${port(url)}`, parameters)))) as {
      failure?: string
      code?: string
      ssl?: boolean
    }
    const actual = { failure, code, ssl }
    const picked = Object.fromEntries(Object.keys(expected).map(key => [key, actual[key as keyof typeof actual]]))
    t.strictSame(picked, expected, `${server} ${host} ${parameters.replace(String(tls.caFile), 'the CA')}`)
  }
})

t.test('the hosts of a URL are tried in turn, and a host that gave no session is tried last the next time', async t => {
  const [postgres, silent] = await Promise.all([startTestPostgres(t), startTestPostgres(t)])
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(silent.url).port) })
  await proxy.blackHole(true)
  const url = withHosts(postgres.url, `127.0.0.1:1,127.0.0.1:${proxy.port},${hostOf(postgres.url)}`, '?sslmode=disable')
  const port = Number(new URL(postgres.url).port)
  const client = open(t, url, { connectTimeoutMs: SILENT_HOST_MS })
  t.strictSame(await outcome(client), { failure: 'database_timeout', code: 'CONNECT_TIMEOUT' })
  t.strictSame(await outcome(client), { ssl: false, port }, 'the same client')
  t.strictSame(await outcome(open(t, url)), { ssl: false, port }, 'another client')
  t.strictSame(
    await outcome(open(t, withHosts(postgres.url, `127.0.0.1:1,${hostOf(postgres.url)}`))),
    { ssl: false, port },
    'no call fails because of a refused connection'
  )
})

t.test('a check finds the host after an unresponsive one while it connects in the background', async t => {
  const [postgres, silent] = await Promise.all([startTestPostgres(t), startTestPostgres(t)])
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(silent.url).port) })
  await proxy.blackHole(true)
  for (const sslmode of ['disable', 'prefer']) {
    const url = withHosts(postgres.url, `127.0.0.1:${proxy.port},${hostOf(postgres.url)}`, `?sslmode=${sslmode}`)
    const connectTimeoutMs = SILENT_HOST_MS
    const check = new DatabaseCheck(url, { applicationName: 'test', deadlineMs: SILENT_HOST_MS / 4, connectTimeoutMs })
    t.teardown(() => check.close())
    const states = [(await check.check()).state]
    while (states.at(-1) !== 'ok') states.push((await check.check()).state)
    t.equal(states[0], 'connecting', `${sslmode}: ${states.join(', ')}`)
  }
})

t.test('target_session_attrs excludes a standby and a read-only server', async t => {
  const [primary, standby] = await Promise.all([startTestPostgres(t), startTestPostgres(t)])
  await standby.demote()
  const hosts = `${hostOf(standby.url)},${hostOf(primary.url)}`
  const ports = { primary: Number(new URL(primary.url).port), standby: Number(new URL(standby.url).port) }
  const portOf = async (parameters: string, list = hosts) => outcome(open(t, withHosts(primary.url, list, parameters)))

  t.strictSame(await portOf(''), { ssl: false, port: ports.standby }, 'any')
  t.strictSame(await portOf('?target_session_attrs=primary'), { ssl: false, port: ports.primary }, 'primary')
  t.strictSame(await portOf('?target_session_attrs=read-write'), { ssl: false, port: ports.primary }, 'read-write')
  for (const wanted of ['primary', 'read-write']) {
    t.strictSame(
      await portOf(`?target_session_attrs=${wanted}`, hostOf(standby.url)),
      { failure: 'database_refused', code: 'UNSUITABLE' },
      `no ${wanted}`
    )
  }

  await primary.query('alter role trading set default_transaction_read_only = on')
  t.strictSame(
    await portOf('?target_session_attrs=read-write', hostOf(primary.url)),
    { failure: 'database_refused', code: 'UNSUITABLE' },
    'read-only by default'
  )
  t.strictSame(
    await portOf('?target_session_attrs=primary', hostOf(primary.url)),
    { ssl: false, port: ports.primary },
    'a read-only primary is a primary'
  )
})

t.test('a client recovers when the standby is promoted', async t => {
  const postgres = await startTestPostgres(t)
  await postgres.demote()
  const client = open(t, withHosts(postgres.url, hostOf(postgres.url), '?target_session_attrs=primary'))
  t.strictSame(await outcome(client), { failure: 'database_refused', code: 'UNSUITABLE' })
  await postgres.promote()
  let last = await outcome(client)
  while ('failure' in last) last = await outcome(client)
  t.strictSame(last, { ssl: false, port: Number(new URL(postgres.url).port) })
})

t.test('closed sockets are not counted, and destroy closes those that connect', async t => {
  const postgres = await startTestPostgres(t, { tls: true })
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(postgres.url).port) })
  const client = open(t, proxy.url(postgres.url), { max: 3 })
  for (let round = 0; round < 3; round++) {
    await Promise.all([1, 2, 3].map(() => client.sql`select pg_sleep(0.05)`))
    t.equal(client.connections(), 3, `round ${round}`)
    await proxy.reset()
    while (client.connections() > 0) await new Promise(resolve => setTimeout(resolve, 5))
  }
  await proxy.blackHole(true)
  const waiting = settled(client.sql`select 1`)
  while (client.connections() === 0) await new Promise(resolve => setTimeout(resolve, 5))
  client.destroy()
  const { error } = await waiting
  t.ok(error instanceof Error)
  while (client.connections() > 0) await new Promise(resolve => setTimeout(resolve, 5))
})

t.test('a server that closes every connection at once is not called in a tight loop', async t => {
  let accepted = 0
  const server = createServer(socket => {
    accepted++
    socket.end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const client = open(t, `postgres://u@127.0.0.1:${port}/d?sslmode=disable`)
  for (let call = 1; call <= 3; call++) {
    const { error } = await settled(client.sql`select 1`)
    t.equal(failureOf(error), 'database_unreachable')
    t.equal(accepted, call, 'one connection for each call')
  }
})
