// Two builds on one database at the same time: this one, and an earlier or a later one.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { checkOut, copySources, lastCommitBefore, versionOf } from '../support/builds.ts'
import { runCommand } from '../support/command.ts'
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { projectRoot, serverScript } from '../support/project.ts'
import { ADMIN, createAdmin, PASSWORD } from '../support/replica.ts'
import { type Service, startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

/** The limit of detection and recovery. */
const LIMIT_MS = 3_000
/** The time after the detection in which no answer may be 200, and no job may run. */
const HELD_MS = 1_500

const CURRENT = versionOf({ folder: projectRoot })
/** The last version that does not read which versions a schema allows. */
const EARLIER = '0.1.0'
const earlier = lastCommitBefore('0.2.0')
/** The jobs of that version that run once in the cluster. */
const EARLIER_JOBS = [
  'update_orders',
  'sync_balances',
  'calculate_pnl',
  'daily_summary',
  'calculate_performance',
  'housekeeping'
]

/** A replica of one build that has been ready once, its admin, and probes of both ports ten times a second. */
interface Replica {
  name: string
  service: Service
  admin: Client
  prober: Prober
  /** Milliseconds until both ports return, or returned, a matching answer to a probe that was sent after `sinceMs`. */
  onBoth(sinceMs: number, fits: (probed: Probed) => boolean): Promise<number>
}

const isReady = ({ status }: Probed) => status === 200
const isIncompatible = ({ status, body }: Probed) => status === 503 && body.error === 'schema_incompatible'

async function startReplica(t: Test, server: TestPostgres, name: string, script: string): Promise<Replica> {
  const environment = { DATABASE_URL: server.url, INSTANCE_ID: name, CHECK_TIMEOUT_MS: '800' }
  const service = await startService(t, environment, [], { script })
  const { main, probes } = service
  const prober = new Prober(t)
  prober.start([`${main}/health/ready`, `${probes}/health/ready`], 10)
  const onBoth: Replica['onBoth'] = async (sinceMs, fits) => {
    const answered = [main, probes].map(base => {
      const isIt = (probed: Probed) => probed.sentMs >= sinceMs && probed.url.startsWith(base) && fits(probed)
      return prober.results.find(isIt) ?? prober.until(isIt)
    })
    const times = (await Promise.all(answered)).map(({ sentMs, tookMs }) => sentMs + tookMs - sinceMs)
    return Math.round(Math.max(...times))
  }
  return { name, service, admin: new Client(main), prober, onBoth }
}

/** As `startReplica`, but ready, with a running scheduler and a signed-in admin. */
async function startReady(t: Test, server: TestPostgres, name: string, script: string): Promise<Replica> {
  const replica = await startReplica(t, server, name, script)
  await replica.onBoth(0, isReady)
  await replica.service.logged('scheduler state changed')
  await createAdmin(server.url)
  while ((await replica.admin.signIn(ADMIN, PASSWORD)).status !== 200) await sleep(50)
  return replica
}

/** A database connection of the test. */
function connected(t: Test, server: TestPostgres) {
  const sql = postgres(server.url, { max: 1, prepare: false, fetch_types: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  return sql
}
type Sql = ReturnType<typeof connected>

/** Triggers jobs on each replica, one after the other: each runs its own, once. */
async function runOnEach(t: Test, sql: Sql, replicas: readonly Replica[], jobTypes = ['housekeeping']) {
  for (const { name, admin } of replicas) {
    for (const job_type of jobTypes) await runOn(t, sql, name, admin, job_type)
  }
}

async function runOn(t: Test, sql: Sql, name: string, admin: Client, job_type: string) {
  const { status, answer } = await admin.send('POST', '/api/system/trigger-job', { job_type })
  t.strictSame([status, answer.outcome], [200, 'succeeded'], `a trigger of ${job_type} on ${name}`)
  const rows = await sql<{ instance: string; outcome: string }[]>`
      select instance, outcome from job_runs where run_id = ${String(answer.run_id)}`
  t.strictSame([...rows], [{ instance: name, outcome: 'succeeded' }], `it ran only on ${name}`)
}

/** A session of one replica is valid on the other: a load balancer alternates between them. */
async function shareSessions(t: Test, one: Replica, other: Replica) {
  for (const [from, to] of [
    [one, other],
    [other, one]
  ] as const) {
    const client = new Client(to.service.main)
    client.cookie = from.admin.cookie
    const { status, answer } = await client.send('GET', '/api/auth/me')
    t.equal(status, 200, `a session of ${from.name} on ${to.name}: ${JSON.stringify(answer)}`)
  }
}

/** No fire of the schedule ran twice, and none failed. */
async function judgeSchedule(t: Test, sql: Sql) {
  const rows = await sql<{ job_id: string; scheduled_for: Date; runs: number }[]>`
    select job_id, scheduled_for, count(*)::int as runs from job_runs
    where trigger = 'schedule' and outcome <> 'skipped' group by job_id, scheduled_for having count(*) > 1`
  t.strictSame([...rows], [], 'no fire ran twice')
  const failed = await sql<{ job_id: string; error_code: string }[]>`
    select job_id, error_code from job_runs where outcome = 'failed'`
  t.strictSame([...failed], [], 'no run failed')
}

/** Both ports were ready from the first time on, until the end of the probes. */
async function judgeReadiness(t: Test, { name, prober }: Replica) {
  await prober.stop()
  const since = prober.results.findIndex(isReady)
  const codes = prober.results
    .slice(since)
    .flatMap(({ status, body }) => (status === 200 ? [] : [String(body.error ?? body.failure)]))
  // The ports become ready one after the other, and on a busy machine three processes get too little time.
  const expected = ['starting', 'migrations_pending', 'overloaded', 'database_timeout']
  const lost = codes.filter(code => !expected.includes(code))
  t.strictSame(lost, [], `${name}: ${prober.results.length - since} answers since it was ready`)
}

/** The log lines of statements that failed because of the schema. */
const misfits = ({ log }: Service) =>
  log.filter(line => /does not exist|violates|"code":"(22|23|42)\w{3}"/.test(JSON.stringify(line)))

t.test(`a roll-out and a roll-back between ${EARLIER} and this build`, { skip: earlier.absent }, async t => {
  const sources = checkOut(t, earlier.commit)
  t.equal(versionOf(sources), EARLIER)
  const earlierScript = sources.build()
  const server = await startTestPostgres(t)
  const sql = connected(t, server)
  const known = new Set(earlier.migrations)
  const later = readdirSync(join(projectRoot, 'src/database/migrations')).filter(name => !known.has(name))
  t.ok(later.length >= 3, `migrations since: ${later.length}`)

  const old = await startReady(t, server, 'old', earlierScript)
  await t.test('the new build starts next to the old one and migrates', async t => {
    const current = await startReady(t, server, 'new', serverScript)
    t.strictSame((await current.service.logged('schema up to date')).applied, later.sort())
    await runOnEach(t, sql, [old, current, old])
    await shareSessions(t, old, current)
    await judgeReadiness(t, current)
    await current.service.end()
  })

  await t.test('the old build continues after the new one has ended', async t => {
    await runOnEach(t, sql, [old], EARLIER_JOBS)
    await judgeReadiness(t, old)
    t.strictSame(misfits(old.service), [])
    await old.service.end()
  })

  await t.test('the old build starts on the newer schema, alone and next to the new one', async t => {
    const first = await startReady(t, server, 'old', earlierScript)
    t.strictSame((await first.service.logged('schema up to date')).applied, [])
    await runOnEach(t, sql, [first], EARLIER_JOBS)
    await judgeReadiness(t, first)
    await first.service.end()

    const current = await startReady(t, server, 'new', serverScript)
    const second = await startReady(t, server, 'old', earlierScript)
    await runOnEach(t, sql, [second, current, second])
    await shareSessions(t, second, current)
    for (const replica of [current, second]) {
      await judgeReadiness(t, replica)
      t.strictSame(misfits(replica.service), [], replica.name)
      await replica.service.end()
    }
  })
  await judgeSchedule(t, sql)
})

/** A later version, with a migration after which this version may not work. @returns its server */
function buildLater(t: Test, version: string): string {
  const sources = copySources(t)
  const edit = (file: string, pattern: RegExp, text: string) => {
    const path = join(sources.folder, file)
    const before = readFileSync(path, 'utf8')
    const after = before.replace(pattern, text)
    if (after === before) throw new Error(`${file} does not have ${pattern}`)
    writeFileSync(path, after)
  }
  edit('package.json', /"version": "[^"]*"/, `"version": "${version}"`)
  edit('src/database/oldest-service.ts', /'\n\}/, `',\n'999.do.later.sql': '${version}'\n}`)
  // The migration removes nothing that this build needs, so only its declaration has an effect.
  writeFileSync(join(sources.folder, 'src/database/migrations/999.do.later.sql'), 'create table later (id int);\n')
  return sources.build()
}

t.test('after a migration for later versions only, this build stops its work until it is allowed again', async t => {
  const [major = 0, minor = 0] = CURRENT.split('.').map(Number)
  const version = `${major}.${minor + 1}.0`
  const laterScript = buildLater(t, version)
  const server = await startTestPostgres(t)
  const sql = connected(t, server)
  const current = await startReady(t, server, 'current', serverScript)
  await runOnEach(t, sql, [current])

  const later = await startReady(t, server, 'later', laterScript)
  const { time } = await later.service.logged('schema up to date')
  const migratedMs = performance.now() - (Date.now() - Date.parse(String(time)))
  const detectedMs = await current.onBoth(migratedMs, isIncompatible)
  t.ok(detectedMs <= LIMIT_MS, `not ready ${detectedMs} ms after the migration`)
  const reason = `it is for version ${version} of the service or later, and this is ${CURRENT}`
  const reported = current.service.log.filter(({ msg }) => msg === 'database not usable')
  t.equal(reported.length, 1)
  t.hasStrict(reported[0], { to: 'schema_incompatible', err: { message: reason } })

  const sinceMs = performance.now()
  const [now] = await sql<{ at: Date }[]>`select now() as at`
  const refused = await current.admin.send('POST', '/api/system/trigger-job', { job_type: 'housekeeping' })
  t.strictSame([refused.status, refused.answer.code], [503, 'DATABASE_UNAVAILABLE'])
  const command = await runCommand({ DATABASE_URL: server.url }, ['password of eve', 'password of eve'], 'user:list')
  t.strictSame(command, { code: 1, stdout: '', stderr: `the schema does not fit: ${reason}\n` })
  const restarted = await startReplica(t, server, 'restarted', serverScript)
  const { err, step } = await restarted.service.logged('start-up step failed, retrying')
  t.hasStrict({ err, step }, { err: { message: `the schema does not fit: ${reason}` }, step: 'schema' })
  await restarted.onBoth(0, isIncompatible)
  await runOnEach(t, sql, [later])
  await sleep(HELD_MS)
  const answers = [...current.prober.results.filter(({ sentMs }) => sentMs >= sinceMs), ...restarted.prober.results]
  t.strictSame(answers.filter(isReady), [], `none of ${answers.length} answers is 200`)
  const runs = await sql`select from job_runs where started_at >= ${now?.at ?? ''} and instance <> 'later'`
  t.equal(runs.length, 0, 'no job ran')
  await judgeReadiness(t, later)
  await later.service.end()

  await sql`comment on table schema_version is ${sql.unsafe(`'oldest-service: ${CURRENT}'`)}`
  const allowedMs = performance.now()
  const recoveries = [current, restarted].map(replica => replica.onBoth(allowedMs, isReady))
  const recoveredMs = Math.max(...(await Promise.all(recoveries)))
  t.ok(recoveredMs <= LIMIT_MS, `ready ${recoveredMs} ms after the declaration allows this version`)
  await runOnEach(t, sql, [current])
  await judgeSchedule(t, sql)
})
