import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { ProbeHost, type ProbeHostOptions, ProbePortError } from '../../src/health/probe-host.ts'
import { SharedState } from '../../src/health/state.ts'
import { notReady } from '../../src/health/verdict.ts'
import { captureLog } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'

function hosted(t: Test, settings: Partial<ProbeHostOptions['settings']> = {}) {
  const { lines, logger } = captureLog('debug')
  const state = new SharedState()
  const transitions: string[] = []
  const waiting: (() => void)[] = []
  const host = new ProbeHost({
    state,
    log: logger,
    settings: {
      host: '127.0.0.1',
      port: 0,
      service: 'test',
      applicationName: 'test-probe',
      // A busy machine answers later than the 400 ms of the default.
      checkTimeoutMs: 30_000,
      stallMs: 30_000,
      log: { level: 'silent', bindings: {} },
      ...settings
    },
    onTransition: (from, to) => {
      transitions.push(`${from} ${to}`)
      for (const look of waiting.splice(0)) look()
    }
  })
  t.teardown(() => host.close())
  const transition = () => new Promise<void>(resolve => waiting.push(resolve))
  return { host, state, lines, transitions, transition }
}

t.test('a thread that ends is reported, its verdict ages out, and it is started again on its port', async t => {
  const { url } = await createTestDatabase(t)
  const { host, state, lines, transition } = hosted(t)
  const port = await host.start()
  state.setMigrated()
  state.setStarted()
  const known = transition()
  host.setDatabase(url)
  await known
  while (notReady(state.snapshot()) !== undefined) await host.ask()

  host.kill()
  while (notReady(state.snapshot()) !== 'overloaded') await new Promise(resolve => setTimeout(resolve, 20))
  t.pass('without the thread the verdict ages out')
  while (host.restarts === 0 || (await answers(port)) !== 200) await new Promise(resolve => setTimeout(resolve, 20))
  t.ok(lines.find(({ msg }) => msg === 'probe thread ended'))
  while (notReady(state.snapshot()) !== undefined) {
    await host.ask()
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.pass('it checks again by itself')
})

t.test('a port in use is a clear error', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const address = other.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const { host } = hosted(t, { port })
  const failure = await host.start().catch((err: unknown) => err)
  const message = `the probe port 127.0.0.1:${port} cannot be listened on: EADDRINUSE`
  t.equal(failure instanceof ProbePortError ? failure.message : failure, message)
})

t.test('concurrent requests share one message, and none waits for ever', async t => {
  const { host } = hosted(t, { port: 'off', checkTimeoutMs: 1 })
  t.equal(await host.start(), undefined)
  t.equal(host.ask(), host.ask())
  await host.ask()
  await host.close()
  await host.close()
  t.pass('closing twice is no error')
})

async function answers(port: number | undefined): Promise<number> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/health/live`)).status
  } catch {
    return 0 // not listening again yet
  }
}
