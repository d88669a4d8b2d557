import t from 'tap'
import { locksOf, readTransactions, violationsOf } from './lock-trace.ts'

t.test('the statements of a transaction are read from the log, in their order and over several lines', async t => {
  const log = [
    '7 3/10|LOG:  statement: begin',
    '8 4/20|LOG:  execute <unnamed>: select 1',
    '7 3/10|LOG:  execute <unnamed>: ',
    '\tupdate accounts',
    '\tset x = 1',
    '7 3/10|DETAIL:  Parameters: $1 = ...',
    '\tnot a statement',
    '8 0/0|LOG:  checkpoint complete',
    '7 3/10|LOG:  statement: commit',
    '7 3/11|LOG:  execute s1: select 2'
  ]
  t.strictSame(readTransactions(log.join('\n')), [
    ['begin', '\nupdate accounts\nset x = 1', 'commit'],
    ['select 1'],
    ['select 2']
  ])
})

const waits = (table: string) => ({ table, waits: true })

for (const [statement, locks] of [
  ['select * from accounts', []],
  ['update accounts set x = 1', [waits('accounts')]],
  ['insert into outbox (a) values (1) on conflict (a) do update set a = 2', [waits('outbox')]],
  ['insert into audit_log (a) values (1)', []],
  ['insert into orders (account_id, status) select a, b from c', [{ table: 'orders', waits: false }]],
  ['insert into orders (account_id,\n exchange_order_id) values (1, 2)', [waits('orders')]],
  ['update audit_log a set x = 1', [waits('audit_log')]],
  ['lock table users in share row exclusive mode', [waits('users')]],
  ['select a from orders where b in (select c from accounts) order by a\n for no key update', [waits('orders')]],
  ['with a as (select from scheduler_state for share) select from orders', [waits('scheduler_state')]],
  ['select from accounts join x on true for no key update of accounts', [waits('accounts')]],
  [
    'delete from outbox where id in (select id from outbox limit 1 for update skip locked)',
    [
      { table: 'outbox', waits: false },
      { table: 'outbox', waits: false }
    ]
  ],
  ["select pg_advisory_xact_lock(hashtext('a'))", [waits('pg_advisory_xact_lock')]],
  ['update sign_in_limits set x = 1 where count_audited_attempts(a, 1)', [waits('sign_in_limits'), waits('audit_log')]],
  ['select delete_old_audit_rows(100) as count', [{ table: 'audit_log', waits: false }]],
  ["select pg_try_advisory_xact_lock(hashtext('a'))", []],
  ['update another set x = 1', []]
] as const) {
  t.test(`the locks of: ${statement.replace('\n', '')}`, async t => {
    t.strictSame(locksOf(statement), locks)
  })
}

t.test('a wait for a table that is earlier in the order is a violation', async t => {
  const job = 'update scheduled_jobs set x = 1'
  const run = 'update job_runs set x = 1'
  t.strictSame(violationsOf([job, run]), [])
  t.strictSame(violationsOf([run, job]), [`scheduled_jobs after job_runs: ${job}`])
  t.strictSame(violationsOf([job, run, job]), [], 'a lock that is already held is not waited for')
  const skipping = 'select from scheduled_jobs for update skip locked'
  t.strictSame(violationsOf([run, skipping]), [], 'a skipped lock is not waited for')
  const advisory = 'select pg_advisory_xact_lock(1)'
  t.strictSame(violationsOf([run, advisory]), [`pg_advisory_xact_lock after job_runs: ${advisory}`])
})
