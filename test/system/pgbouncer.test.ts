// The service through a transaction-pooling pgbouncer.
import postgres from 'postgres'
import t from 'tap'
import { Database } from '../../src/database/database.ts'
import { reportSettings } from '../../src/database/settings-report.ts'
import { captureLog } from '../support/app.ts'
import { pgbouncerAbsent, startPgbouncer } from '../support/pgbouncer.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { Prober } from '../support/prober.ts'
import { startService } from '../support/service.ts'

t.test(
  'three replicas start together through pgbouncer, migrate once and become ready',
  { skip: pgbouncerAbsent },
  async t => {
    const server = await startTestPostgres(t)
    const url = await startPgbouncer(t, server.url)
    const services = await Promise.all([1, 2, 3].map(() => startService(t, { DATABASE_URL: url })))
    const migrated = await Promise.all(services.map(service => service.logged('schema up to date')))
    const applied = migrated.map(({ applied }) => (Array.isArray(applied) ? applied.length : Number.NaN))
    t.equal(applied.filter(count => count > 0).length, 1, `one replica migrates: ${applied.join(', ')}`)

    const prober = new Prober(t)
    for (const { main, probes } of services) {
      prober.start([`${main}/health/ready`, `${probes}/health/ready`], 10)
      await prober.until(({ status }) => status === 200)
      await prober.stop()
    }

    const sql = postgres(server.url, { max: 1 })
    t.teardown(() => sql.end({ timeout: 0 }))
    const versions = await sql`select version, count(*)::int from schema_version where version > 0 group by version`
    t.not(versions.length, 0)
    t.strictSame(
      versions.filter(({ count }) => count !== 1),
      [],
      'each migration is recorded once'
    )
  }
)

t.test(
  'database settings that a client cannot set through pgbouncer are reported by name',
  { skip: pgbouncerAbsent },
  async t => {
    const server = await startTestPostgres(t)
    const settings = { bytea_output: 'escape', lock_timeout: '10min', statement_timeout: '10min' }
    const admin = postgres(server.url, { max: 1 })
    t.teardown(() => admin.end({ timeout: 0 }))
    const name = new URL(server.url).pathname.slice(1)
    for (const [setting, value] of Object.entries({ ...settings, DateStyle: 'German', TimeZone: 'Asia/Seoul' })) {
      await admin.unsafe(`alter database ${name} set ${setting} = '${value}'`)
    }
    const { lines, logger: log } = captureLog('warn')
    const database = new Database({ max: 2, applicationName: 'test', log })
    t.teardown(() => database.close(0))
    database.open(await startPgbouncer(t, server.url))
    await t.rejects(
      reportSettings(database, log),
      { code: 'database_refused' },
      'pgbouncer rejects the parameters once'
    )
    t.strictSame(await reportSettings(database, log), settings)
    t.strictSame(
      lines.map(({ msg, settings }) => ({ msg, settings })),
      [{ msg: 'settings of the database role in the way', settings }]
    )
  }
)
