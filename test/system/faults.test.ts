// Each fault of the database, in each network, with every probe route of both ports probed ten times a second.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { probes as probePaths } from '../../src/health/probes.ts'
import { startControlServer } from '../support/control-server.ts'
import { reportFault, shown, worstMs } from '../support/fault-report.ts'
import { type Network, networks } from '../support/networks.ts'
import type { TestPostgres } from '../support/postgres.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { startService } from '../support/service.ts'

const paths = Object.keys(probePaths)
const PROBES_PER_SECOND = 10
/** The time of 100 probes on every route at ten a second. */
const OBSERVED_MS = 10_000
const FAULT_MS = 5_000

interface Fault {
  name: string
  /** The reasons that readiness may return during the fault. */
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

/** The times at which the fault had begun, its end was requested, and it had ended, by `performance.now()`. */
interface Times {
  faultMs: number
  endingMs: number
  endedMs: number
}

async function serviceOn(t: Test, network: Network) {
  const { postgres, url } = await network.start(t)
  const service = await startService(t, { DATABASE_URL: url })
  const control = await startControlServer(t)
  const prober = new Prober(t)
  await service.logged('schema up to date')
  for (const base of [service.main, service.probes]) {
    while ((await prober.probe(`${base}/health/ready`)).status !== 200) await sleep(20)
  }
  prober.results.length = 0
  prober.start([...paths.flatMap(path => [service.main + path, service.probes + path]), control], PROBES_PER_SECOND)
  /** Stops the probes. @returns the answers of both ports and of the control server */
  async function stop() {
    await prober.stop()
    const of = (base: string) => prober.results.filter(({ url }) => url.startsWith(base))
    return { main: of(service.main), probes: of(service.probes), control: of(control) }
  }
  return { postgres, service, stop }
}

for (const network of networks) {
  for (const { name, codes, begin, end } of faults) {
    t.test(`with ${name}, ${network.name}`, async t => {
      const { postgres, service, stop } = await serviceOn(t, network)
      await sleep(1_000)
      await begin(postgres)
      const faultMs = performance.now()
      await sleep(FAULT_MS)
      const endingMs = performance.now()
      await end(postgres)
      const endedMs = performance.now()
      await sleep(OBSERVED_MS - FAULT_MS - 1_000)
      const { main, probes, control } = await stop()

      const times = { faultMs, endingMs, endedMs }
      await t.test('on the main port', async t => judge(t, { results: main, control, times, codes }))
      await t.test('on the probe port', async t => judge(t, { results: probes, control, times, codes }))
      const transitions = service.log.filter(({ msg }) => msg === 'database not usable').length
      t.ok(transitions <= 4, `only changes of the state are logged: ${transitions}`)
      await reportFault(t, { service, results: [...main, ...probes], control, databaseUrl: postgres.url })
    })
  }

  t.test(`with a restart of the database, ${network.name}`, async t => {
    const { postgres, service, stop } = await serviceOn(t, network)
    await sleep(1_000)
    await postgres.restart()
    const endedMs = performance.now()
    await sleep(OBSERVED_MS - 2_000)
    const { main, probes, control } = await stop()
    const results = [...main, ...probes]
    judgeAnswers(t, results, control)
    judgeRecovery(t, results, endedMs)
    await reportFault(t, { service, results, control, databaseUrl: postgres.url })
  })
}

const of = (results: Probed[], path: string) => results.filter(({ url }) => new URL(url).pathname === path)

interface Judged {
  results: Probed[]
  control: Probed[]
  times: Times
  codes: string[]
}

function judge(t: Test, { results, control, times: { faultMs, endingMs, endedMs }, codes }: Judged) {
  for (const path of paths) {
    const count = of(results, path).length
    t.ok(count >= 95, `${path} was probed 100 times: ${count}`)
  }
  judgeAnswers(t, results, control)

  const answeredMs = ({ sentMs, tookMs }: Probed) => sentMs + tookMs
  // The fault may end at any time after its end was requested, before the request is confirmed.
  const during = of(results, '/health/ready').filter(
    probed => probed.sentMs > faultMs + 600 && answeredMs(probed) < endingMs
  )
  t.ok(during.length > 30, `readiness was probed in the fault: ${during.length}`)
  t.strictSame(
    shown(during.filter(({ status }) => status === 200)),
    [],
    `no 200 later than 600 ms after the fault, which began at ${faultMs} and ended from ${endingMs} on`
  )
  t.strictSame(
    shown(during.filter(({ body }) => !codes.includes(String(body.error)))),
    [],
    `no other reason than ${codes.join(' or ')}`
  )
  judgeRecovery(t, results, endedMs)
}

/**
 * The limits in every state of the database. The bare server shows the part of an answer's time that the machine
 * causes.
 */
function judgeAnswers(t: Test, results: Probed[], control: Probed[]) {
  const ownMs = worstMs(control)
  const worst = worstMs(results)
  t.ok(worst <= 1_000, `no answer over 1 s: ${worst} ms, of the control server ${ownMs} ms`)
  t.strictSame(shown(results.filter(({ status }) => status === 0)), [], 'every probe was answered')

  const live = of(results, '/health/live')
  t.strictSame(shown(live.filter(({ status }) => status !== 200)), [], 'liveness stays 200')
  const worstLive = worstMs(live)
  t.ok(worstLive <= 100, `no liveness answer over 100 ms: ${worstLive} ms, of the control server ${ownMs} ms`)
}

function judgeRecovery(t: Test, results: Probed[], endedMs: number) {
  const after = of(results, '/health/ready').filter(({ sentMs }) => sentMs > endedMs + 1_000)
  t.ok(after.length > 20, `readiness was probed after the fault: ${after.length}`)
  t.strictSame(shown(after.filter(({ status }) => status !== 200)), [], 'ready within 1 s of the end')
}
