// Faults of a database that answers but cannot be used: readiness, answers and recovery, on both ports.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { ADMIN, createAdmin, PASSWORD } from '../support/replica.ts'
import { type Service, startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

/** The limit of detection and recovery. */
const LIMIT_MS = 3_000
/** The time after the detection in which no answer may be 200. */
const HELD_MS = 1_500
/** The interval of a client that sends requests continuously. */
const ASK_MS = 200

interface Fault {
  name: string
  /** The final reason of readiness. */
  code: string
  begin(server: TestPostgres): Promise<unknown>
  end(server: TestPostgres): Promise<unknown>
}

const endSessions = `select pg_terminate_backend(pid) from pg_stat_activity
  where pid <> pg_backend_pid() and backend_type = 'client backend' and usename = 'trading'`
const inTrading = async (server: TestPostgres, statement: string) => {
  const sql = postgres(server.url, { max: 1, prepare: false, onnotice: () => undefined })
  try {
    await sql.unsafe(statement)
  } finally {
    await sql.end({ timeout: 1 })
  }
}
const filesOf = (server: TestPostgres) => join(dirname(server.logFile), 'postgres/base')

const TMPFS = ['-t', 'tmpfs', '-o', 'size=200m,mode=777', 'tmpfs']

let unlock: () => void = () => undefined
const faults: Fault[] = [
  {
    name: 'a hot standby behind the address',
    code: 'database_read_only',
    begin: server => server.demote(),
    end: server => server.promote()
  },
  {
    name: 'default_transaction_read_only',
    code: 'database_read_only',
    async begin(server) {
      await server.query('alter role trading set default_transaction_read_only = on')
      await server.query(endSessions)
    },
    end: server => server.query('alter role trading reset default_transaction_read_only')
  },
  {
    name: 'a missing table',
    code: 'schema_incompatible',
    begin: server => inTrading(server, 'alter table audit_log rename to audit_log_lost'),
    end: server => inTrading(server, 'alter table audit_log_lost rename to audit_log')
  },
  {
    name: 'a renamed column',
    code: 'schema_incompatible',
    begin: server => inTrading(server, 'alter table sessions rename column last_seen_at to seen_at'),
    end: server => inTrading(server, 'alter table sessions rename column seen_at to last_seen_at')
  },
  {
    name: 'a column of another type',
    code: 'schema_incompatible',
    begin: server => inTrading(server, 'alter table account_balances alter column total type float8'),
    end: server => inTrading(server, 'alter table account_balances alter column total type numeric')
  },
  {
    name: 'an exclusive lock on a table',
    code: 'database_failing',
    async begin(server) {
      const sql = postgres(server.url, { max: 1, onnotice: () => undefined })
      const released = new Promise<void>(resolve => {
        unlock = resolve
      })
      await new Promise<void>((resolve, reject) => {
        sql
          .begin(async tx => {
            await tx`lock table sessions in access exclusive mode`
            resolve()
            await released
          })
          .catch(reject)
          .finally(() => sql.end({ timeout: 1 }))
      })
    },
    end: async () => unlock()
  },
  {
    name: 'the files of the database gone',
    code: 'database_failing',
    begin: server => rename(filesOf(server), `${filesOf(server)}.gone`),
    end: server => rename(`${filesOf(server)}.gone`, filesOf(server))
  }
]

/** A replica on a server, an admin who is signed in, and probes of both ports ten times a second. */
async function serviceOn(t: Test, server: TestPostgres) {
  const service = await startService(t, { DATABASE_URL: server.url, CHECK_TIMEOUT_MS: '400' })
  await service.logged('schema up to date')
  await createAdmin(server.url)
  const admin = new Client(service.main)
  const prober = new Prober(t)
  prober.start([`${service.main}/health/ready`, `${service.probes}/health/ready`], 10)
  await onBoth(prober, service, 0, ({ status }) => status === 200)
  // The first polls and heartbeats are complete: this replica may run jobs.
  while ((await admin.signIn(ADMIN, PASSWORD)).status !== 200) await sleep(50)
  return { service, admin, prober }
}

/** Milliseconds until both ports return a matching answer to a probe that was sent after `sinceMs`. */
async function onBoth(prober: Prober, { main, probes }: Service, sinceMs: number, fits: (probed: Probed) => boolean) {
  const answered = [main, probes].map(base =>
    prober.until(probed => probed.sentMs >= sinceMs && probed.url.startsWith(base) && fits(probed))
  )
  const times = (await Promise.all(answered)).map(({ sentMs, tookMs }) => sentMs + tookMs - sinceMs)
  return Math.round(Math.max(...times))
}

/** The answers of the API to an earlier session, to a sign-in, and to an action. */
async function judgeAnswers(t: Test, service: Service, admin: Client) {
  const [details, signIn, trigger] = await Promise.all([
    admin.send('GET', '/api/system/health/details'),
    new Client(service.main).signIn(ADMIN, PASSWORD),
    admin.send('POST', '/api/system/trigger-job', { job_type: 'housekeeping' })
  ])
  t.equal(details.status, 200, 'details')
  t.match(details.answer, { ages_ms: { overdue_jobs: Number } })
  for (const [name, { status, headers, answer }] of Object.entries({ signIn, trigger })) {
    if (status === 200) continue
    t.strictSame([status, answer.code, headers.get('retry-after')], [503, 'DATABASE_UNAVAILABLE', '5'], name)
  }
}

/**
 * A client that sends requests continuously, as a page does. @returns a function that stops it and returns the statuses
 */
function keepAsking(admin: Client): () => Promise<number[]> {
  const sent: Promise<number>[] = []
  const ask = () => sent.push(admin.send('GET', '/api/auth/me').then(({ status }) => status))
  const timer = setInterval(ask, ASK_MS)
  return () => {
    clearInterval(timer)
    return Promise.all(sent)
  }
}

async function judge(t: Test, server: TestPostgres, on: Awaited<ReturnType<typeof serviceOn>>, fault: Fault) {
  const { service, admin, prober } = on
  const begunMs = performance.now()
  await fault.begin(server)
  const faultMs = performance.now()
  const stopAsking = keepAsking(admin)
  const detectedMs = await onBoth(prober, service, faultMs, ({ status }) => status === 503)
  t.ok(detectedMs <= LIMIT_MS, `detected after ${detectedMs} ms`)
  await onBoth(prober, service, faultMs, ({ body }) => body.error === fault.code)
  const steadyMs = performance.now()
  await Promise.all([judgeAnswers(t, service, admin), sleep(HELD_MS)])
  const held = prober.results.filter(({ sentMs }) => sentMs >= steadyMs)
  t.strictSame([...new Set(held.map(({ status, body }) => `${status} ${body.error}`))], [`503 ${fault.code}`])

  await fault.end(server)
  const endedMs = performance.now()
  const recoveredMs = await onBoth(prober, service, endedMs, ({ status }) => status === 200)
  t.ok(recoveredMs <= LIMIT_MS, `recovered ${recoveredMs} ms after the end`)
  const statuses = new Set(await stopAsking())
  t.strictSame(
    [...statuses].filter(status => status !== 200 && status !== 503),
    [],
    'other answers'
  )
  const steady = performance.now()
  const { status } = await admin.send('POST', '/api/system/trigger-job', { job_type: 'housekeeping' })
  t.equal(status, 200, 'jobs run again')
  await sleep(500)
  const after = prober.results.filter(({ sentMs }) => sentMs >= steady)
  t.strictSame(
    after.filter(({ status }) => status !== 200).map(({ body }) => body),
    [],
    'the replica remains ready'
  )
  const slowest = Math.round(Math.max(...prober.results.filter(({ sentMs }) => sentMs >= begunMs).map(p => p.tookMs)))
  t.ok(slowest <= 1_000, `slowest probe: ${slowest} ms`)
}

t.test('each fault of a database that answers is detected and reported, and the replica recovers', async t => {
  const server = await startTestPostgres(t)
  const on = await serviceOn(t, server)
  for (const fault of faults) await t.test(fault.name, async t => judge(t, server, on, fault))
  const lines = on.service.log.filter(({ msg }) => msg === 'request failed')
  t.strictSame(lines, [], 'no answer was 500')
})

/** Why the test of a full disk is skipped; false if a file system can be mounted. */
const notMountable = (): string | false => {
  const mount = mkdtempSync('/tmp/th-disk-')
  const { status, stderr, error } = spawnSync('mount', [...TMPFS, mount], { encoding: 'utf8' })
  if (status === 0) spawnSync('umount', [mount])
  rmdirSync(mount)
  return status === 0 ? false : `a file system cannot be mounted here: ${stderr?.trim() || error?.message}`
}

t.test('a full disk is detected and reported, and the replica recovers', { skip: notMountable() }, async t => {
  const mount = mkdtempSync('/tmp/th-disk-')
  spawnSync('mount', [...TMPFS, mount])
  const before = process.env.TMPDIR
  t.teardown(() => {
    spawnSync('umount', ['-l', mount])
    rmdirSync(mount)
  })
  process.env.TMPDIR = mount
  const starting = startTestPostgres(t)
  if (before === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = before
  const server = await starting
  const on = await serviceOn(t, server)
  const filler = join(mount, 'filler')
  const fill = () => {
    try {
      writeFileSync(filler, Buffer.alloc(300 * 1024 * 1024))
    } catch {
      // The disk is full.
    }
  }
  await judge(t, server, on, {
    name: 'full',
    code: 'database_failing',
    begin: async () => fill(),
    end: async () => rmSync(filler)
  })
})

t.test('a replica that starts on a schema with a missing column reports it, and runs no job', async t => {
  const server = await startTestPostgres(t)
  const first = await startService(t, { DATABASE_URL: server.url })
  await first.logged('scheduler state changed')
  await first.end()
  await inTrading(server, 'alter table job_runs rename column lease_token to lease_key')

  const service = await startService(t, { DATABASE_URL: server.url, CHECK_TIMEOUT_MS: '400' })
  const prober = new Prober(t)
  prober.start([`${service.main}/health/ready`, `${service.probes}/health/ready`], 10)
  const { err, step } = await service.logged('start-up step failed, retrying')
  t.hasStrict(err, { message: 'the schema does not fit: column lease_token of table job_runs is missing' })
  t.equal(step, 'schema')
  await onBoth(prober, service, performance.now(), ({ body }) => body.error === 'schema_incompatible')
  await sleep(HELD_MS)
  t.strictSame(
    prober.results.filter(({ status }) => status === 200).map(({ body }) => body),
    [],
    'the replica was never ready'
  )
  t.equal(service.log.filter(({ msg }) => msg === 'scheduler state changed').length, 0, 'the scheduler has not started')

  await inTrading(server, 'alter table job_runs rename column lease_key to lease_token')
  const recoveredMs = await onBoth(prober, service, performance.now(), ({ status }) => status === 200)
  t.ok(recoveredMs <= LIMIT_MS, `ready ${recoveredMs} ms after the column is there`)
  await service.logged('scheduler state changed')
})

t.test('the time format of the database role has no effect', async t => {
  const server = await startTestPostgres(t)
  await server.query("alter role trading set DateStyle = 'German'")
  const { admin } = await serviceOn(t, server)
  for (const path of ['auth/me', 'system/scheduler-status', 'system/health/details', 'system/job-runs']) {
    const { status } = await admin.send('GET', `/api/${path}`)
    t.equal(status, 200, path)
  }
})
