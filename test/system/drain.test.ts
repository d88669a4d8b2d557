// A rolling restart behind a real HAProxy: no request is lost.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { createTestDatabase } from '../support/database.ts'
import { freePort } from '../support/free-port.ts'
import { type Service, startService } from '../support/service.ts'

const REQUESTS_PER_SECOND = 200
const DRAIN_SECONDS = 4

const absent = spawnSync('haproxy', ['-v']).error && 'haproxy is not installed (Debian package haproxy)'

t.test('two instances restarted in turn under load lose no request', { skip: absent ?? false }, async t => {
  for (const clients of ['keep-alive', 'close'] as const) {
    t.test(`clients: ${clients}`, async t => {
      const { url } = await createTestDatabase(t)
      const ports = [await freePort(), await freePort(), await freePort()] as const
      const [front, ...backs] = ports
      const start = (port: number) =>
        startService(t, { DATABASE_URL: url, PORT: String(port), DRAIN_SECONDS: String(DRAIN_SECONDS) })
      const services: Service[] = []
      for (const port of backs) services.push(await start(port))
      await startHaproxy(t, front, backs)

      const load = await startLoad(t, `http://127.0.0.1:${front}/api/system/health`, clients)
      for (const [i, port] of backs.entries()) {
        const ended = await services[i]?.end('SIGTERM')
        t.equal(ended?.code, 0, 'the instance drains and exits with 0')
        await start(port)
        // The time until HAProxy (rise 2, inter 1s) sends requests to it again.
        await sleep(3_000)
      }
      const { failures, count } = await load.stop()
      t.ok(count > REQUESTS_PER_SECOND * DRAIN_SECONDS, `requests were made: ${count}`)
      t.strictSame(failures, [], 'no request failed')
    })
  }
})

async function startHaproxy(t: Test, front: number, backs: number[]): Promise<void> {
  const config = join(t.testdir(), 'haproxy.cfg')
  writeFileSync(
    config,
    `global
  maxconn 1000
defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 30s
  timeout server 10s
frontend front
  bind 127.0.0.1:${front}
  default_backend replicas
backend replicas
  option httpchk GET /health/ready
  http-check expect status 200
  default-server check inter 1s fall 2 rise 2
${backs.map(port => `  server replica-${port} 127.0.0.1:${port}`).join('\n')}
`
  )
  const haproxy = spawn('haproxy', ['-f', config, '-db'], { stdio: 'ignore' })
  const ended = once(haproxy, 'exit')
  t.teardown(async () => {
    haproxy.kill('SIGKILL')
    await ended
  })
}

/**
 * A constant load from the first successful request on. Every answer other than 200 is a failure, and so is a missing
 * one.
 */
async function startLoad(t: Test, url: string, clients: 'keep-alive' | 'close') {
  const agent = new Agent(clients === 'close' ? { pipelining: 0 } : { connections: 20 })
  const failures: string[] = []
  const underWay = new Set<Promise<unknown>>()
  let count = 0
  let running = true

  /** @returns the failure; undefined after success */
  const send = async (): Promise<string | undefined> => {
    try {
      const signal = AbortSignal.timeout(10_000)
      const { statusCode, body } = await request(url, { dispatcher: agent, signal, reset: clients === 'close' })
      await body.dump()
      return statusCode === 200 ? undefined : `status ${statusCode}`
    } catch (err) {
      return String(err)
    }
  }
  const pace = async () => {
    for (let due = performance.now(); running; due += 1_000 / REQUESTS_PER_SECOND) {
      const sent = send().then(failure => {
        count++
        if (failure) failures.push(failure)
      })
      underWay.add(sent)
      void sent.finally(() => underWay.delete(sent))
      await sleep(Math.max(0, due - performance.now()))
    }
  }

  while (await send()) await sleep(100)
  const paced = pace()
  const stop = async () => {
    running = false
    await paced
    await Promise.all(underWay)
    return { failures, count }
  }
  t.teardown(async () => {
    await stop()
    await agent.close()
  })
  return { stop }
}
