// The service as a role that cannot change the schema: deploy/postgres/roles.sql, by psql, on a private server.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { untilStatus } from '../support/app.ts'
import { CLUSTER_JOBS, load, startCluster } from '../support/cluster-load.ts'
import { migrate, outcomeOf, runRoles, serverWithRoles } from '../support/database-roles.ts'
import type { TestPostgres } from '../support/postgres.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { missingTool } from '../support/tools.ts'

const LOAD_MS = 6_000
const skip = missingTool('psql', 'postgresql-client')

/** The lines of the server's log about missing rights. */
async function deniedIn(server: TestPostgres): Promise<string[]> {
  const lines = (await readFile(server.logFile, 'utf8')).split('\n')
  return lines.filter(line => /permission denied|must be owner/.test(line))
}

t.test('a service that starts before the migration waits for it, and then works', { skip }, async t => {
  const { admin, owner, service: DATABASE_URL } = await serverWithRoles(t)
  const service = await startService(t, { DATABASE_URL })
  const failed = await service.logged('start-up step failed, retrying')
  t.hasStrict(failed, { level: 40, step: 'schema' })
  t.ok(JSON.stringify(failed).includes('"42501"'), 'with the SQLSTATE')
  const waiting = await untilStatus(`${service.probes}/health/ready`, 503)
  t.hasStrict(await waiting.json(), { error: 'migrations_pending' })
  t.equal(await migrate(owner, admin), 'trading_service may use the tables.')
  await untilStatus(`${service.main}/health/startup`, 200)
  await untilStatus(`${service.probes}/health/ready`, 200)
  t.equal(runRoles(admin), 'trading_service may use the tables.', 'the file may be run again')
  const powerful = "select from pg_roles where rolname like 'trading%' and (rolsuper or rolcreaterole or rolcreatedb)"
  t.equal(await outcomeOf(admin, powerful), '[]')
})

t.test('all jobs, admin actions and commands work without the right to change the schema', { skip }, async t => {
  const { server, admin, owner, service } = await serverWithRoles(t, { maxConnections: 150 })
  t.equal(await migrate(owner, admin), 'trading_service may use the tables.')
  const audited = (days: number) => `
    insert into audit_log (at, action, outcome, details)
    values (now() - interval '${days} days', 'sign_in', 'refused', '{"attempts": 3}')`
  await outcomeOf(owner, audited(401))
  await outcomeOf(owner, audited(399))

  const cluster = await startCluster(t, { url: service, directUrl: owner })
  // Under load a request may get 503 on a slow machine. The log of the server shows denied statements.
  await load(cluster, LOAD_MS)
  const [replica] = cluster.replicas
  if (!replica) throw new Error('no replica')
  for (const job_type of [...Object.keys(CLUSTER_JOBS), 'update_prices']) {
    const { answer } = await replica.admin.send('POST', '/api/system/trigger-job', { job_type })
    // A run is partial after the load: the operator's commands add an account whose keys no exchange knows.
    t.hasStrict(answer, { success: true }, job_type)
    t.comment(`${job_type}: ${answer.outcome} ${JSON.stringify(answer.undone ?? {})}`)
  }
  const old = "select count(*)::int as rows from audit_log where at < now() - interval '1 day'"
  t.equal(await outcomeOf(service, old), '[{"rows":1}]', 'housekeeping deleted the older row')
  const counted = "select from audit_log where at > now() - interval '1 day' and (details->>'attempts')::int > 1"
  while ((await outcomeOf(service, counted)) === '[]') await new Client(replica.main).signIn('ada', 'a wrong password')
  t.strictSame(await deniedIn(server), [], 'the server denied nothing')
})

t.test('the role of the service can neither change the schema nor the audit log', { skip }, async t => {
  const { admin, owner, service } = await serverWithRoles(t)
  await migrate(owner, admin)
  await outcomeOf(
    owner,
    "insert into audit_log (at, action, outcome) values (now() - interval '399 days', 'a', 'failed')"
  )
  for (const statement of [
    'create table mine (id int)',
    'create function mine() returns int language sql as $$ select 1 $$',
    'alter table users add column extra int',
    'drop table sessions',
    'truncate sessions',
    'create index on orders (symbol)',
    "update audit_log set outcome = 'succeeded'",
    "update audit_log set details = '{}'",
    'delete from audit_log',
    'truncate audit_log',
    'select from audit_log for update',
    'insert into schema_version (version) values (999)',
    "insert into strategies (user_id, name, market_type) values (1, 'x', 'SPOT')",
    'delete from accounts',
    'delete from users',
    'set role trading_owner'
  ]) {
    t.equal(await outcomeOf(service, statement), '42501', statement)
  }
  const counted = "select count_audited_attempts(1, 5, interval '400 days') as counted"
  t.equal(await outcomeOf(service, counted), '[{"counted":false}]', 'a row without a count is not changed')
  t.equal(await outcomeOf(service, 'select delete_old_audit_rows(1000) as deleted'), '[{"deleted":0}]')
  t.equal(await outcomeOf(service, 'select outcome, details from audit_log'), '[{"outcome":"failed","details":{}}]')

  await outcomeOf(admin, 'create role other login')
  await outcomeOf(admin, "alter role other password 'other'")
  const other = owner.replace('trading_owner:trading_owner@', 'other:other@')
  t.equal(await outcomeOf(other, 'select delete_old_audit_rows(1)'), '42501', 'other roles may not call the functions')
  t.equal(await outcomeOf(other, 'create table mine (id int)'), '42501')
})

t.test('the rights that an earlier file granted are revoked', { skip }, async t => {
  const { admin, owner, service } = await serverWithRoles(t)
  await migrate(owner, admin)
  await outcomeOf(owner, 'grant update, delete on audit_log to trading_service')
  t.equal(await outcomeOf(service, 'delete from audit_log'), '[]')
  t.equal(runRoles(admin), 'trading_service may use the tables.')
  t.equal(await outcomeOf(service, 'delete from audit_log'), '42501')
})
