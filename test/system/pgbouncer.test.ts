// Everything through a transaction-pooling pgbouncer.
import postgres from 'postgres'
import t from 'tap'
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
