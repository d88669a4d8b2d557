// Two replicas, real processes on one Postgres. One of them is killed in the middle of a daily job.
import t, { type Test } from 'tap'
import { assertRows } from '../support/assert-rows.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { observe, startReplica, until } from '../support/replica.ts'
import { localDay } from '../support/trading-days.ts'
import { generateTrading } from '../support/trading-year.ts'

/** A zone where it is noon, so that no day ends while a test runs. */
const { timeZone: TIME_ZONE, date: today } = localDay(12)

async function twoReplicas(t: Test, job: string) {
  const postgres = await startTestPostgres(t)
  const sql = await observe(t, postgres.url)
  const environment = { DATABASE_URL: postgres.url, SHUTDOWN_SECONDS: '1', TIME_ZONE }
  const [one, two] = await Promise.all([
    startReplica(t, 'one', job, environment),
    startReplica(t, 'two', job, environment)
  ])
  const trigger = { job_type: job, wait: false }
  /** Runs the job on the remaining replica, as soon as the lease of the other one has expired. */
  const again = async () => {
    const { body } = await until(
      () => two.call('POST', 'trigger-job', trigger),
      ({ status }) => status === 202
    )
    const ended = await until(
      () => sql<{ outcome: string; error_code: string | null; result: object }[]>`
        select outcome, error_code, result from job_runs where run_id = ${String(body.run_id)} and outcome <> 'running'`,
      rows => rows.length === 1
    )
    assertRows(t, ended, [{ outcome: 'succeeded', error_code: null }])
    return ended[0]?.result
  }
  return { postgres, sql, one, begin: () => one.call('POST', 'trigger-job', trigger), again }
}

t.test('performance: after a kill in the middle, the next run gives the rows of an undisturbed run', async t => {
  const { postgres, sql, one, begin, again } = await twoReplicas(t, 'daily_performance')
  await generateTrading(postgres.url, { strategies: 100, executions: 100_000, days: 365 })
  const digest = async () =>
    await sql`
      select count(*)::int, md5(string_agg((to_jsonb(p) - 'computed_at')::text, ',' order by strategy_id, date))
      from strategy_performance p`
  // From the day of its first execution to yesterday each strategy has a row.
  const [{ days } = { days: 0 }] = await sql<{ days: number }[]>`
    select sum(${today}::date - first_day)::int as days
    from (
      select (min(executed_at) at time zone ${TIME_ZONE})::date as first_day from trade_executions group by strategy_account_id
    ) each_strategy`
  await begin()
  await until(
    () => sql`select from strategy_performance limit 1`,
    rows => rows.length === 1,
    1
  )
  await one.end('SIGKILL')
  const [{ count } = { count: 0 }] = await sql`select count(*)::int from strategy_performance`
  t.ok(count > 0 && count < days, `killed after ${count} of ${days} rows`)
  const result = await again()
  t.hasStrict(result, { strategies: 100 })
  const got = await digest()
  t.equal(got[0]?.count, days)
  await sql`truncate strategy_performance, performance_progress`
  await again()
  t.strictSame([...(await digest())], [...got])
})

t.test('summary: after a kill before the message is written, the next run writes rows and message once', async t => {
  const { postgres, sql, one, begin, again } = await twoReplicas(t, 'daily_summary')
  await generateTrading(postgres.url, { strategies: 10, executions: 1_000, days: 10 })
  const blocked = sql.begin(async tx => {
    await tx`lock table outbox in exclusive mode`
    await begin()
    await until(
      // Not in the transaction, which would see the same snapshot of pg_stat_activity each time.
      () => sql`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into outbox%'`,
      rows => rows.length === 1
    )
    await one.end('SIGKILL')
  })
  await blocked
  t.hasStrict(await again(), { accounts: 20, messages: 2 })
  const [rows] = await sql`
    select (select count(*)::int from daily_account_summaries) as summaries,
      (select count(*)::int from outbox) as messages`
  t.strictSame({ ...rows }, { summaries: 20, messages: 2 })
})
