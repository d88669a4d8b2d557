// Readiness depends on the state of the database and on the round-trip time to it.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startDistantPostgres } from '../support/networks.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { type Service, startService } from '../support/service.ts'

const READY = '/health/ready'
/** The time in which the network varies and the answers are observed. */
const VARIED_MS = Number(process.env.VARIED_SECONDS ?? 20) * 1_000

/** The longest time until a reset of all connections is detected. */
const RESET_MS = 3_000

const isReady = (probed: Probed) => probed.url.endsWith(READY) && probed.status === 200
const isNotReady = (probed: Probed) => probed.url.endsWith(READY) && probed.status === 503

/** Probes readiness on both ports ten times a second. */
function probed(t: Test, { main, probes }: Pick<Service, 'main' | 'probes'>): Prober {
  const prober = new Prober(t)
  prober.start([`${main}${READY}`, `${probes}${READY}`], 10)
  return prober
}

/** Milliseconds until both ports return a matching answer to a probe that was sent after `sinceMs`. */
async function untilBoth(prober: Prober, service: Service, sinceMs: number, fits: (probed: Probed) => boolean) {
  const answered = [service.main, service.probes].map(base =>
    prober.until(probed => probed.sentMs >= sinceMs && probed.url.startsWith(base) && fits(probed))
  )
  const last = (await Promise.all(answered)).map(({ sentMs, tookMs }) => sentMs + tookMs - sinceMs)
  return Math.round(Math.max(...last))
}

/** The changes between ready and not ready, as the service logged them. */
const changesOf = ({ log }: Service) =>
  log.flatMap(({ msg, from, to }) =>
    msg === 'database usable' || msg === 'database not usable' ? [`${from} to ${to}`] : []
  )

t.test('at every round-trip time the replica is ready soon after a cold start and after a reset', async t => {
  const { url, proxy } = await startDistantPostgres(t)
  // Migrates, so that the later replicas start on a complete schema.
  const first = await startService(t, { DATABASE_URL: url })
  await first.logged('schema up to date')
  await first.end()

  for (const roundTripMs of [20, 60, 150, 250]) {
    await proxy.setConditions({ delayMs: roundTripMs / 2 })
    const startedMs = performance.now()
    const service = await startService(t, { DATABASE_URL: url, CHECK_TIMEOUT_MS: '400' })
    const listeningMs = performance.now()
    const prober = probed(t, service)
    const coldMs = (await untilBoth(prober, service, listeningMs, isReady)) + Math.round(listeningMs - startedMs)
    t.ok(coldMs <= 5_000, `at ${roundTripMs} ms ready ${coldMs} ms after the start of the process`)

    const resetMs = performance.now()
    await proxy.reset()
    await sleep(RESET_MS)
    await untilBoth(prober, service, performance.now(), isReady)
    const after = prober.results.filter(({ sentMs }) => sentMs >= resetMs)
    const outage = after.filter(({ status }) => status !== 200).map(({ sentMs, tookMs }) => sentMs + tookMs - resetMs)
    const againMs = Math.round(Math.max(0, ...outage))
    t.ok(againMs <= RESET_MS, `at ${roundTripMs} ms ready again ${againMs} ms after the reset`)
    await prober.stop()
    await service.end()
  }
})

t.test(
  'a replica whose database is too far away is not ready, and a varying round-trip time changes nothing',
  async t => {
    const { url, proxy } = await startDistantPostgres(t)
    const service = await startService(t, { DATABASE_URL: url, CHECK_TIMEOUT_MS: '400' })
    const prober = probed(t, service)
    await untilBoth(prober, service, 0, isReady)

    await proxy.setConditions({ delayMs: 225 })
    const farMs = performance.now()
    const detectedMs = await untilBoth(prober, service, farMs, isNotReady)
    t.ok(detectedMs <= 3_000, `at 450 ms not ready after ${detectedMs} ms`)
    const settledMs = performance.now()
    await sleep(5_000)
    const far = prober.results.filter(({ sentMs }) => sentMs >= settledMs)
    t.strictSame([...new Set(far.map(({ body }) => String(body.error)))], ['database_timeout'])

    const before = changesOf(service).length
    // A round trip of 300 ms ± 100.
    await proxy.setConditions({ delayMs: 100, jitterMs: 100 })
    await untilBoth(prober, service, performance.now(), isReady)
    const variedMs = performance.now()
    await sleep(VARIED_MS)
    await prober.stop()
    const varied = prober.results.filter(({ sentMs }) => sentMs >= variedMs)
    t.strictSame(
      varied.filter(({ status }) => status !== 200).map(({ body }) => body),
      [],
      `${varied.length} answers in ${VARIED_MS / 1_000} s at 300 ms ± 100`
    )
    t.equal(changesOf(service).length - before, 1, changesOf(service).join(', '))
    const worst = Math.round(Math.max(...prober.results.map(({ tookMs }) => tookMs)))
    t.ok(worst < 1_000, `slowest answer: ${worst} ms`)
  }
)
