// Three replicas, real processes on one Postgres, directly and through a transaction-pooling pgbouncer.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { assertRows } from '../support/assert-rows.ts'
import { pgbouncerAbsent, startPgbouncer } from '../support/pgbouncer.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { observe, type Replica, startReplica, until } from '../support/replica.ts'

const NAMES = ['one', 'two', 'three']
const LEASE_MS = 15_000

// These tests mostly wait, for a minute or for a lease to expire, so they run in parallel. Each has its own Postgres.
t.jobs = 2

for (const way of ['directly', 'through pgbouncer'] as const) {
  const options = { skip: way === 'through pgbouncer' && pgbouncerAbsent, buffered: true }

  async function prepared(t: Test) {
    const postgres = await startTestPostgres(t)
    const sql = await observe(t, postgres.url)
    return { postgres, sql, url: way === 'directly' ? postgres.url : await startPgbouncer(t, postgres.url) }
  }

  t.test(`a minute of three replicas ${way}`, options, async t => {
    const { sql, url } = await prepared(t)

    t.test('a job that is due every second for a minute runs once in each second', async t => {
      const replicas = await Promise.all(NAMES.map(name => startReplica(t, name, 'each_second', { DATABASE_URL: url })))
      const [begun] = await sql<{ at: Date }[]>`select date_trunc('second', now()) + interval '1 second' as at`
      const from = begun?.at ?? new Date(Number.NaN)
      await sleep(61_500)
      const until = new Date(from.getTime() + 60_000)
      const fires = await sql<{ scheduled_for: Date; count: number; late: number }[]>`
        select scheduled_for, count(*)::int, extract(epoch from max(at) - scheduled_for)::float8 * 1000 as late
        from effects where scheduled_for >= ${from} and scheduled_for < ${until}
        group by scheduled_for order by scheduled_for`
      const [skipped] = await sql<{ count: number }[]>`
        select coalesce(sum(skipped_count), 0)::int as count from job_runs
        where outcome = 'skipped' and scheduled_for >= ${from} and scheduled_for < ${until}`
      const doubled = fires.filter(({ count }) => count !== 1)
      t.strictSame(doubled, [], 'no fire ran twice')
      t.equal(
        fires.length + (skipped?.count ?? Number.NaN),
        60,
        `60 fires: ${fires.length}, and the others recorded as skipped`
      )
      t.ok(fires.length >= 58, `of 60 seconds ${fires.length} ran`)
      const late = fires.map(({ late }) => late).sort((a, b) => a - b)
      t.comment(`late by ${late[30]?.toFixed(1)} ms (median), ${late.at(-1)?.toFixed(1)} ms (most), ${way}`)
      const unfinished = await sql`select from job_runs where outcome not in ('succeeded', 'skipped', 'running')`
      t.equal(unfinished.length, 0)
      await Promise.all(replicas.map(replica => replica.end()))
    })
  })

  t.test(`three replicas ${way}`, options, async t => {
    const { postgres, sql, url } = await prepared(t)

    t.test('after the replica of a run is killed, another can run the job within the lease and 2 s', async t => {
      const [one, two, three] = await startThree(t, 'long')
      const { body } = await one.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      await until(
        () => sql`select from effects where run_id = ${String(body.run_id)}`,
        rows => rows.length > 3
      )
      const killedMs = performance.now()
      await one.end('SIGKILL')
      const refused = await two.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      t.hasStrict(refused, { status: 409, body: { run_id: body.run_id, instance: 'one' } })
      const next = await until(
        () => three.call('POST', 'trigger-job', { job_type: 'long', wait: false }),
        ({ status }) => status === 202
      )
      const freedMs = performance.now() - killedMs
      t.ok(freedMs <= LEASE_MS + 2_000, `free after ${Math.round(freedMs)} ms`)
      const { body: dead } = await two.call('GET', `job-runs/${body.run_id}`)
      t.hasStrict(dead, { run: { outcome: 'abandoned', error: 'LEASE_EXPIRED' } })
      await noDoubleEffect(t)
      t.not(next.body.run_id, body.run_id)
      await Promise.all([two.end(), three.end()])
    })

    t.test('a runner that was frozen for longer than the lease cannot write when it continues', async t => {
      const [one, two, three] = await startThree(t, 'long')
      const { body } = await one.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      const first = String(body.run_id)
      await until(
        () => sql`select from effects where run_id = ${first}`,
        rows => rows.length > 3
      )
      one.child.kill('SIGSTOP')
      const next = await until(
        () => two.call('POST', 'trigger-job', { job_type: 'long', wait: false }),
        ({ status }) => status === 202
      )
      const [before] = await sql`select count(*) from effects where run_id = ${first}`
      await until(
        () => sql`select from effects where run_id = ${String(next.body.run_id)}`,
        rows => rows.length > 3
      )
      one.child.kill('SIGCONT')
      const line = await one.logged('effect refused')
      t.match(JSON.stringify(line.err), /LEASE_LOST/, 'its write is rejected')
      await one.logged('run lost')
      const [after] = await sql`select count(*) from effects where run_id = ${first}`
      t.strictSame(after, before, 'no effect after the lease was released')
      t.hasStrict((await three.call('GET', `job-runs/${first}`)).body, { run: { outcome: 'abandoned' } })
      t.hasStrict((await two.call('GET', `job-runs/${next.body.run_id}`)).body, { run: { outcome: 'running' } })
      await noDoubleEffect(t)
      await Promise.all([one.end(), two.end(), three.end()])
    })

    t.test('of 50 concurrent triggers on three replicas one runs, and the others get its id', async t => {
      const replicas = await startThree(t, 'held')
      await sql`update gate set open = false`
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          (replicas[i % 3] ?? replicas[0]).call('POST', 'trigger-job', { job_type: 'held', wait: false })
        )
      )
      const accepted = answers.filter(({ status }) => status === 202)
      const refused = answers.filter(({ status }) => status !== 202)
      t.equal(accepted.length, 1)
      t.strictSame([...new Set(refused.map(({ status }) => status))], [409])
      const runId = accepted[0]?.body.run_id
      t.ok(refused.every(({ body }) => body.run_id === runId && body.code === 'JOB_ALREADY_RUNNING'))
      await sql`update gate set open = true`
      await until(
        () => replicas[0].call('GET', `job-runs/${runId}`),
        ({ body }) => (body.run as { outcome: string }).outcome === 'succeeded'
      )
      await Promise.all(replicas.map(replica => replica.end()))
    })

    t.test('a stop applies to all replicas within 2 s, persists after restarts, and is ended by a start', async t => {
      const [one, two, three] = await startThree(t, 'each_second')
      await until(
        () => sql`select from effects where at > now() - interval '1 second'`,
        rows => rows.length > 0
      )
      const { body } = await one.call('POST', 'scheduler-control', { action: 'stop', reason: 'maintenance' })
      t.hasStrict(body, { success: true, scheduler_running: false })
      const [stopped] = await sql<{ at: Date }[]>`select clock_timestamp() as at`
      const seen = (await two.call('GET', 'scheduler-status')).body
      t.hasStrict(seen, {
        scheduler_running: false,
        status: { is_running: false, stopped: { by: 'ada', reason: 'maintenance' } }
      })
      const { jobs } = seen.status as { jobs: object[] }
      assertRows(t, jobs, [{ id: 'each_second', next_run_time: null }])
      await sleep(3_000)
      const [late] = await sql`select count(*)::int from job_runs where started_at > ${stopped?.at ?? null}`
      t.equal(late?.count, 0, 'no run started after the stop')
      await three.end()
      const again = await startReplica(t, 'four', 'each_second', { DATABASE_URL: url })
      t.hasStrict((await again.call('GET', 'scheduler-status')).body, { scheduler_running: false })
      const manual = await again.call('POST', 'trigger-job', { job_type: 'each_second' })
      t.equal(manual.status, 200, 'a manual trigger runs also while the scheduler is stopped')
      const askedMs = performance.now()
      await two.call('POST', 'scheduler-control', { action: 'start' })
      await until(
        () => sql`select from effects where job_id = 'each_second' and at > now() - interval '500 milliseconds'`,
        rows => rows.length > 0
      )
      const tookMs = performance.now() - askedMs
      t.ok(tookMs < 4_000, `fires continue after ${Math.round(tookMs)} ms`)
      const missed = await sql`select from job_runs where outcome = 'skipped' and started_at > ${stopped?.at ?? null}`
      t.equal(missed.length, 0, 'no fire during the stop counts as missed')
      await Promise.all([one.end(), two.end(), again.end()])
    })

    t.test('after a drain another replica can run the job at once', async t => {
      const [one, two, three] = await startThree(t, 'long', { SHUTDOWN_SECONDS: '2' })
      const { body } = await one.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      await until(
        () => sql`select from effects where run_id = ${String(body.run_id)}`,
        rows => rows.length > 3
      )
      const { code } = await one.end('SIGTERM')
      t.equal(code, 0)
      const next = await two.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      t.equal(next.status, 202, 'the replica has released its lease')
      t.hasStrict((await three.call('GET', `job-runs/${body.run_id}`)).body, {
        run: { outcome: 'failed', error: 'SHUTDOWN' }
      })
      await Promise.all([two.end(), three.end()])
    })

    t.test('when Postgres restarts while a job runs, the run and the scheduler continue', async t => {
      const [one, two, three] = await startThree(t, 'long,each_second')
      const { body } = await one.call('POST', 'trigger-job', { job_type: 'long', wait: false })
      const runId = String(body.run_id)
      const effects = () => sql`select from effects where run_id = ${runId}`
      const before = await until(effects, rows => rows.length > 3)
      await postgres.restart()
      const [restarted] = await until(
        () => tried(sql<{ at: Date }[]>`select clock_timestamp() as at`),
        rows => rows.length > 0
      )
      const outcome = async () =>
        (await sql<{ outcome: string }[]>`select outcome from job_runs where run_id = ${runId}`)[0]?.outcome
      await until(
        async () => (await outcome()) !== 'running' || (await effects()).length > before.length + 5,
        done => done
      )
      // pgbouncer waits for 15 s (server_login_retry) after a login that fails, as long as a lease lasts. The runner ends
      // its run then, or another replica does: in both cases it is abandoned.
      const found = String(await outcome())
      if (way === 'directly') t.equal(found, 'running', 'the run continues')
      else t.ok(['running', 'abandoned'].includes(found), `the run continues, or ended with its lease: ${found}`)
      await until(
        () => sql`select from effects where job_id = 'each_second' and at > ${restarted?.at ?? null}`,
        rows => rows.length > 2
      )
      const doubled = await sql`
        select scheduled_for from effects where job_id = 'each_second' group by 1 having count(*) > 1`
      t.equal(doubled.length, 0, 'no fire ran twice')
      t.hasStrict((await two.call('GET', 'scheduler-status')).body, { scheduler_running: true })
      await Promise.all([one.end(), two.end(), three.end()])
    })

    async function startThree(t: Test, jobs: string, environment: Record<string, string> = {}) {
      await sql`truncate effects`
      const [one, two, three] = await Promise.all(
        NAMES.map(name => startReplica(t, name, jobs, { DATABASE_URL: url, SHUTDOWN_SECONDS: '1', ...environment }))
      )
      if (!one || !two || !three) throw new Error('three replicas were started')
      return [one, two, three] as [Replica, Replica, Replica]
    }

    /** Asserts that the effects of two runs of one job do not overlap in time. */
    async function noDoubleEffect(t: Test) {
      const overlaps = await sql`
        with span as (select run_id, job_id, min(at) as first, max(at) as last from effects group by 1, 2)
        select a.run_id, b.run_id from span a join span b
          on a.job_id = b.job_id and a.run_id < b.run_id and a.first <= b.last and b.first <= a.last`
      t.strictSame([...overlaps], [], 'no two runs had an effect at the same time')
    }
  })
}

/** The rows, or none if the connection was lost with the server. */
async function tried<T extends readonly unknown[]>(rows: Promise<T>): Promise<T | never[]> {
  try {
    return await rows
  } catch {
    return []
  }
}
