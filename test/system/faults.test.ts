// Each fault of the database, with every probe route probed ten times a second through it.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { probes as probePaths } from '../../src/health/probes.ts'
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { startService } from '../support/service.ts'

const paths = Object.keys(probePaths)
const PROBES_PER_SECOND = 10
/** 100 probes on every route at ten a second. */
const OBSERVED_MS = 10_000
const FAULT_MS = 5_000

interface Fault {
  name: string
  /** What readiness may say meanwhile. */
  codes: string[]
  begin(postgres: TestPostgres): Promise<void>
  end(postgres: TestPostgres): Promise<void>
}

const endBackends = `select pg_terminate_backend(pid) from pg_stat_activity
  where pid <> pg_backend_pid() and backend_type = 'client backend'`

const faults: Fault[] = [
  {
    name: 'the database stopped',
    codes: ['database_unreachable', 'database_refused'],
    begin: postgres => postgres.stop(),
    end: postgres => postgres.start()
  },
  {
    name: 'the postmaster and its whole tree frozen',
    codes: ['database_timeout'],
    begin: postgres => postgres.freeze(),
    end: postgres => postgres.thaw()
  },
  {
    name: 'the connections exhausted',
    codes: ['database_refused'],
    begin: async postgres => {
      await postgres.query('alter role trading connection limit 0')
      await postgres.query(endBackends)
    },
    end: async postgres => {
      await postgres.query('alter role trading connection limit -1')
    }
  },
  {
    name: 'the password refused',
    codes: ['database_refused'],
    begin: async postgres => {
      await postgres.query("alter role trading password 'another'")
      await postgres.query(endBackends)
    },
    end: async postgres => {
      await postgres.query(`alter role trading password '${new URL(postgres.url).password}'`)
    }
  }
]

async function serviceOn(t: Test) {
  const postgres = await startTestPostgres(t)
  const service = await startService(t, { DATABASE_URL: postgres.url })
  const prober = new Prober(t)
  await service.logged('schema up to date')
  await untilReady(prober, service.main)
  return { postgres, service, prober }
}

async function untilReady(prober: Prober, base: string): Promise<void> {
  while ((await prober.probe(`${base}/health/ready`)).status !== 200) await sleep(20)
}

for (const { name, codes, begin, end } of faults) {
  t.test(`through ${name}`, async t => {
    const { postgres, service, prober } = await serviceOn(t)
    for (const base of [service.main, service.probes]) {
      prober.results.length = 0
      prober.start(
        paths.map(path => base + path),
        PROBES_PER_SECOND
      )
      await sleep(1_000)
      await begin(postgres)
      const faultMs = performance.now()
      await sleep(FAULT_MS)
      await end(postgres)
      const healedMs = performance.now()
      await sleep(OBSERVED_MS - FAULT_MS - 1_000)
      await prober.stop()

      t.test(base === service.main ? 'on the main port' : 'on the probe port', async t => {
        judge(t, prober.results, { faultMs, healedMs, codes })
      })
    }
    t.equal(service.log.filter(({ msg }) => msg === 'database not usable').length <= 4, true, 'transitions, not states')
  })
}

function judge(
  t: Test,
  results: Probed[],
  { faultMs, healedMs, codes }: { faultMs: number; healedMs: number; codes: string[] }
) {
  const of = (path: string) => results.filter(({ url }) => url.endsWith(path) && new URL(url).pathname === path)
  for (const path of paths) t.ok(of(path).length >= 95, `${path} was probed 100 times: ${of(path).length}`)

  const worst = results.reduce((a, b) => (b.tookMs > a.tookMs ? b : a))
  t.ok(worst.tookMs <= 1_000, `no answer over 1 s: ${Math.round(worst.tookMs)} ms on ${worst.url}`)
  t.notOk(
    results.find(({ status }) => status === 0),
    'every probe was answered'
  )

  const live = of('/health/live')
  const worstLive = Math.max(...live.map(({ tookMs }) => tookMs))
  t.ok(
    live.every(({ status }) => status === 200),
    'liveness stays 200'
  )
  t.ok(worstLive <= 100, `no liveness answer over 100 ms: ${Math.round(worstLive)} ms`)

  const ready = of('/health/ready')
  const answeredMs = ({ sentMs, tookMs }: Probed) => sentMs + tookMs
  const during = ready.filter(probed => probed.sentMs > faultMs + 600 && answeredMs(probed) < healedMs)
  t.ok(during.length > 30, `readiness was probed in the fault: ${during.length}`)
  t.notOk(
    during.find(({ status }) => status === 200),
    'no 200 later than 600 ms after the fault'
  )
  for (const { body } of during) {
    if (!codes.includes(String(body.error))) t.fail('an unexpected reason', body)
  }

  const after = ready.filter(({ sentMs }) => sentMs > healedMs + 1_000)
  t.ok(after.length > 20, `readiness was probed after the fault: ${after.length}`)
  t.notOk(
    after.find(({ status }) => status !== 200),
    'recovered within 1 s'
  )
}

t.test('through a restart', async t => {
  const { postgres, service, prober } = await serviceOn(t)
  prober.start(
    paths.flatMap(path => [service.main + path, service.probes + path]),
    PROBES_PER_SECOND
  )
  await sleep(1_000)
  await postgres.restart()
  const healedMs = performance.now()
  await sleep(OBSERVED_MS - 2_000)
  await prober.stop()
  t.ok(Math.max(...prober.results.map(({ tookMs }) => tookMs)) <= 1_000, 'no answer over 1 s')
  t.ok(
    prober.results.filter(({ url }) => url.endsWith('/health/live')).every(({ status }) => status === 200),
    'liveness stays 200'
  )
  const after = prober.results.filter(({ url, sentMs }) => url.endsWith('/health/ready') && sentMs > healedMs + 1_000)
  t.ok(after.length > 50 && after.every(({ status }) => status === 200), 'ready within 1 s of the restart')
})
