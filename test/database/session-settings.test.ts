import t, { type Test } from 'tap'
import { Database } from '../../src/database/database.ts'
import { isRefusedParameter } from '../../src/database/session-settings.ts'
import { reportSettings } from '../../src/database/settings-report.ts'
import { captureLog, startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { adminOf } from '../support/session.ts'

/** Settings that broke an earlier version, or that would break this one. */
const SETTINGS: Record<string, string> = {
  DateStyle: 'German',
  IntervalStyle: 'sql_standard',
  TimeZone: 'America/New_York',
  bytea_output: 'escape',
  statement_timeout: '1ms',
  lock_timeout: '1ms',
  idle_session_timeout: '20ms',
  idle_in_transaction_session_timeout: '1ms',
  default_transaction_isolation: 'serializable'
}

/** A migrated database whose sessions have those settings by default. */
async function hostileDatabase(t: Test): Promise<string> {
  const { url } = await migratedDatabase(t)
  const database = open(t, url)
  const name = new URL(url).pathname.slice(1)
  for (const [setting, value] of Object.entries(SETTINGS)) {
    await database.run(sql => sql.unsafe(`alter database ${name} set ${setting} = '${value}'`))
  }
  return url
}

function open(t: Test, url: string): Database {
  const database = new Database({ max: 2, applicationName: 'test', log: captureLog('silent').logger })
  database.open(url)
  t.teardown(() => database.close(0))
  return database
}

t.test('settings of the database have no effect: sign-in, jobs and details work', async t => {
  const { lines, logger } = captureLog('warn')
  const { app, url } = await startApp(t, { DATABASE_URL: await hostileDatabase(t) }, { logger })
  await untilStatus(`${url}/health/startup`, 200)
  const admin = await adminOf(app)
  t.hasStrict(await admin.send('GET', '/api/auth/me'), { status: 200 })
  t.hasStrict(await admin.send('GET', '/api/system/health/details'), { status: 200 })
  for (const job_type of ['housekeeping', 'calculate_performance', 'sync_balances']) {
    t.hasStrict(await admin.send('POST', '/api/system/trigger-job', { job_type }), { status: 200 }, job_type)
  }
  t.strictSame(
    lines.map(({ msg }) => msg),
    []
  )
})

t.test('a search_path without a schema is reported', async t => {
  const { url } = await migratedDatabase(t)
  await open(t, url).run(sql => sql.unsafe(`alter database ${new URL(url).pathname.slice(1)} set search_path = none`))
  t.strictSame(await reportSettings(open(t, url), captureLog().logger), { search_path: '"none"' })
})

t.test('only the rejection of a parameter is recognised', async t => {
  const error = (text: string) => Buffer.from(`E\0\0\0\x40SFATAL\0C08P01\0M${text}\0\0`)
  t.equal(isRefusedParameter(error('unsupported startup parameter: statement_timeout')), true)
  t.equal(isRefusedParameter(error('unrecognized configuration parameter "idle_session_timeout"')), true)
  t.equal(isRefusedParameter(error('password authentication failed')), false)
  t.equal(isRefusedParameter(Buffer.from('D unsupported startup parameter')), false)
})
