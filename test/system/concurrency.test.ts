// All jobs and all admin actions at once on three replicas, without and with a distant database.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { CLUSTER_JOBS, load, startCluster } from '../support/cluster-load.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startTestPostgres } from '../support/postgres.ts'

/** From a distance a replica answers fewer requests: with more of them its pool has no free connection for seconds. */
const CASES = [
  { roundTripMs: 0, loadMs: 30_000, wave: 60 },
  { roundTripMs: 200, loadMs: 60_000, wave: 24 }
]

for (const { roundTripMs, loadMs, wave } of CASES) {
  t.test(`three replicas serve all jobs and actions at once, ${roundTripMs} ms from the database`, async t => {
    const server = await startTestPostgres(t, { maxConnections: 150 })
    const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(new URL(server.url).port) })
    const url = roundTripMs === 0 ? server.url : proxy.url(server.url)
    const cluster = await startCluster(t, { url, directUrl: server.url })
    await proxy.setConditions({ delayMs: roundTripMs / 2 })
    const answers = await load(cluster, loadMs, wave)
    await proxy.setConditions({})

    const log = await readFile(server.logFile, 'utf8')
    const deadlocks = log.split('\n').filter(line => line.includes('deadlock detected'))
    const runs = await cluster.sql<{ job_id: string; trigger: string; outcome: string; count: number }[]>`
      select job_id, trigger, outcome, count(*)::int from job_runs group by 1, 2, 3 order by 1, 2, 3`
    for (const [action, statuses] of answers.counts()) t.comment(`${action}: ${statuses}`)
    for (const { job_id, trigger, outcome, count } of runs) t.comment(`${job_id}: ${count} × ${trigger} ${outcome}`)
    for (const { instance, line } of cluster.complaints()) t.comment(`${instance}: ${line}`)
    t.comment(`deadlocks: ${deadlocks.length}, answers of 5xx and other failures: ${answers.failures.length}`)

    t.strictSame(deadlocks, [], 'no deadlock in the log of Postgres')
    t.strictSame(answers.failures, [], 'no answer of 5xx')
    t.strictSame(answers.withoutSuccess, [], 'each action succeeded')
    t.strictSame(
      runs.filter(({ outcome }) => outcome === 'failed' || outcome === 'abandoned'),
      [],
      'no run failed or was abandoned'
    )
    const ended = runs.filter(({ outcome }) => outcome === 'succeeded' || outcome === 'partial')
    const jobs = new Set(ended.map(({ job_id }) => job_id))
    t.strictSame([...jobs].sort(), Object.values(CLUSTER_JOBS).sort(), 'each job ran to its end')
    const scheduled = ended.filter(({ trigger }) => trigger === 'schedule')
    t.ok(scheduled.length > 0, `some of them by the schedule: ${scheduled.length}`)
  })
}
