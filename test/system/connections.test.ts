// Hostile connections to every port: probes and scrapes of others are answered, and memory is bounded.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { untilStatus } from '../support/app.ts'
import { startAttack } from '../support/connection-attacker.ts'
import { startControlServer } from '../support/control-server.ts'
import { createTestDatabase } from '../support/database.ts'
import { startService } from '../support/service.ts'

const EACH = 2_000
const KINDS = 3
/** On each port, including reopened connections. */
const OPEN_PER_SECOND = 300
const OBSERVED_MS = 12_000
const PROBE_MS = 100
const SCRAPE_MS = 500
/** The limit of an answer of the service. The time of the control server's answers shows the load of the machine. */
const WORST_MS = 1_000
/** The memory limit of the whole process, as in `deploy/`. */
const RSS_LIMIT_MB = 400
/** The number of answers that a failed assertion shows. */
const SHOWN = 5

/** The highest limit of open files that this machine permits. */
const hardLimit = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout) || 65_536

interface Answer {
  url: string
  status: number
  tookMs: number
}

/** Sends a request on a separate connection. Never rejects: without an answer the status is 0. */
function ask(url: string): Promise<Answer> {
  const sentMs = performance.now()
  return new Promise(resolve => {
    const end = (status: number) => resolve({ url, status, tookMs: performance.now() - sentMs })
    const sent = request(url, { agent: false, timeout: 5_000 }, response => {
      response.resume()
      response.once('end', () => end(response.statusCode ?? 0)).once('error', () => end(0))
    })
    sent.once('error', () => end(0)).once('timeout', () => sent.destroy())
    sent.end()
  })
}

function rssOf(pid: number): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const megabytes = (name: string) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1_000)
  return { rss: megabytes('VmRSS'), peak: megabytes('VmHWM') }
}

const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length

for (const openFiles of [1_024, 65_536]) {
  t.test(`hostile connections at a limit of ${openFiles} open files`, async t => {
    const possible = Math.min(openFiles, hardLimit)
    if (possible < openFiles) t.comment(`this machine permits only ${possible} open files: tested with these`)
    const { url } = await createTestDatabase(t)
    const service = await startService(t, { DATABASE_URL: url, METRICS_PORT: '0' }, [], { openFiles: possible })
    const { metrics, max_connections: max } = await service.logged('listening')
    await untilStatus(`${service.main}/health/startup`, 200)
    const before = rssOf(service.pid)

    const attacks = [
      { base: service.main, bodyPath: '/api/auth/login' },
      { base: service.probes, bodyPath: '/health/live' },
      { base: String(metrics), bodyPath: '/metrics' }
    ].map(({ base, bodyPath }) =>
      startAttack(t, {
        host: new URL(base).hostname,
        port: Number(new URL(base).port),
        ...{ each: EACH, openPerSecond: OPEN_PER_SECOND, bodyPath }
      })
    )
    const running = { value: true }
    const pace = async (url: string, everyMs: number) => {
      const answers: Promise<Answer>[] = []
      while (running.value) {
        answers.push(ask(url))
        await sleep(everyMs)
      }
      return Promise.all(answers)
    }
    const probes = [service.main, service.probes].flatMap(base =>
      ['live', 'ready'].map(route => pace(`${base}/health/${route}`, PROBE_MS))
    )
    const scrapes = pace(String(metrics), SCRAPE_MS)
    const controls = pace(await startControlServer(t), PROBE_MS)
    let descriptors = 0
    const counting = setInterval(() => {
      descriptors = Math.max(descriptors, descriptorsOf(service.pid))
    }, PROBE_MS)
    t.teardown(() => clearInterval(counting))
    // Each attacker has opened all of its connections, and reopened closed ones.
    await Promise.all(attacks.map(attack => attack.opened(EACH * KINDS)))
    await sleep(OBSERVED_MS)
    running.value = false
    const probed = (await Promise.all(probes)).flat()
    const scraped = await scrapes
    const control = await controls
    const after = rssOf(service.pid)

    const worst = (answers: Answer[]) => Math.round(Math.max(...answers.map(({ tookMs }) => tookMs)))
    const boundMs = WORST_MS + worst(control)
    const failed = (answers: Answer[]) =>
      answers.filter(({ status, tookMs }) => status !== 200 || tookMs >= boundMs).slice(0, SHOWN)
    const opened = attacks.reduce((sum, { state }) => sum + state().opened, 0)
    t.comment(
      `${possible} open files, ${max} connections a port, ${opened} hostile ones: worst of ${probed.length} probes ${worst(probed)} ms, worst of ${scraped.length} scrapes ${worst(scraped)} ms, control ${worst(control)} ms; at most ${descriptors} descriptors; RSS ${before.rss} MB before, ${after.rss} MB after, peak ${after.peak} MB`
    )
    t.strictSame(failed(probed), [], 'every probe is answered in time')
    t.strictSame(failed(scraped), [], 'every scrape is answered in time')
    t.ok(descriptors < possible, `descriptors are left: ${descriptors} of ${possible}`)
    t.ok(after.peak < RSS_LIMIT_MB, `memory is bounded: ${after.peak} MB`)
    await Promise.all(attacks.map(({ stop }) => stop()))
    t.equal(service.child.exitCode, null)
    t.equal((await ask(`${service.main}/health/ready`)).status, 200)
    t.strictSame(
      service.log.filter(({ level }) => level >= 50),
      [],
      'no error is logged'
    )
  })
}
