import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { ConnectionCounts } from '../../src/connections/connection-counts.ts'
import { ProbeThreadSupervisor, type ProbeThreadSupervisorOptions } from '../../src/health/probe-thread-supervisor.ts'
import { SharedState } from '../../src/health/shared-state.ts'
import { notReady } from '../../src/health/verdict.ts'
import { StartError } from '../../src/start-error.ts'
import { captureLog } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'

function supervised(t: Test, settings: Partial<ProbeThreadSupervisorOptions['settings']> = {}) {
  const { lines, logger } = captureLog('debug')
  const state = new SharedState()
  const transitions: string[] = []
  const waiting: (() => void)[] = []
  const supervisor = new ProbeThreadSupervisor({
    state,
    log: logger,
    settings: {
      host: '127.0.0.1',
      port: 0,
      maxConnections: 100,
      connectionCounts: new ConnectionCounts().buffer,
      service: 'test',
      applicationName: 'test-probe',
      keepAliveMs: 75_000,
      // The default of 400 ms is too short for a busy machine.
      checkTimeoutMs: 30_000,
      stallMs: 30_000,
      log: { level: 'silent', bindings: {} },
      ...settings
    },
    onTransition: (from, to) => {
      transitions.push(`${from} ${to}`)
      for (const resolve of waiting.splice(0)) resolve()
    }
  })
  t.teardown(() => supervisor.close())
  const transition = () => new Promise<void>(resolve => waiting.push(resolve))
  return { supervisor, state, lines, transitions, transition }
}

t.test('the probe thread restarts on its port after it ended, which is logged; its verdict expires first', async t => {
  const { url } = await migratedDatabase(t)
  const { supervisor, state, lines, transition } = supervised(t)
  const port = await supervisor.start()
  state.setMigrated()
  state.setStarted()
  const known = transition()
  supervisor.setDatabase(url)
  await known
  while (notReady(state.snapshot()) !== undefined) await supervisor.refresh()

  supervisor.kill()
  while (notReady(state.snapshot()) !== 'overloaded') await new Promise(resolve => setTimeout(resolve, 20))
  t.pass('the verdict expires without the thread')
  while (supervisor.restarts === 0 || (await answers(port)) !== 200)
    await new Promise(resolve => setTimeout(resolve, 20))
  t.ok(lines.find(({ msg }) => msg === 'probe thread ended'))
  while (notReady(state.snapshot()) !== undefined) {
    await supervisor.refresh()
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.pass('the new thread checks the database')
})

t.test('a port in use is a clear error', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const address = other.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const { supervisor } = supervised(t, { port })
  const failure = await supervisor.start().catch((err: unknown) => err)
  const message = `PROBE_PORT ${port} on 127.0.0.1 is in use: stop the process that uses it, or set another PROBE_PORT`
  t.equal(failure instanceof StartError ? failure.message : failure, message)
})

t.test('concurrent requests share one message, and all of them settle', async t => {
  const { supervisor } = supervised(t, { port: 'off', checkTimeoutMs: 1 })
  t.equal(await supervisor.start(), undefined)
  t.equal(supervisor.refresh(), supervisor.refresh())
  await supervisor.refresh()
  await supervisor.close()
  await supervisor.close()
  t.pass('close can be repeated')
})

async function answers(port: number | undefined): Promise<number> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/health/live`)).status
  } catch {
    return 0 // not listening again yet
  }
}
