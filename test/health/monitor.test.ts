import t, { type Test } from 'tap'
import type { CheckResult } from '../../src/database/database-check.ts'
import { Monitor, type MonitorOptions, type Transition } from '../../src/health/monitor.ts'
import { SharedState } from '../../src/health/shared-state.ts'

/** A check whose result and end the test sets. */
function manualCheck() {
  const pending: ((result: CheckResult) => void)[] = []
  const begun: (() => void)[] = []
  let count = 0
  return {
    check: () => {
      count++
      for (const resolve of begun.splice(0)) resolve()
      return new Promise<CheckResult>(resolve => pending.push(resolve))
    },
    answer: (result: CheckResult) => pending.shift()?.(result),
    /** Resolves when the next check begins. */
    next: () => new Promise<void>(resolve => begun.push(resolve)),
    get count() {
      return count
    },
    get running() {
      return pending.length
    }
  }
}

function monitored(t: Test, options: Pick<MonitorOptions, 'idleMs' | 'nowMs' | 'refreshMs'> = {}) {
  const manual = manualCheck()
  const transitions: Transition[] = []
  const state = new SharedState()
  const monitor = new Monitor({
    state,
    check: manual.check,
    onTransition: change => transitions.push(change),
    ...options
  })
  t.teardown(async () => {
    const stopped = monitor.stop()
    manual.answer({ state: 'ok' })
    await stopped
  })
  return { manual, transitions, state, monitor }
}

t.test('concurrent requests share one check', async t => {
  const { manual, monitor, state } = monitored(t)
  const asked = Promise.all(Array.from({ length: 100 }, () => monitor.refresh()))
  t.equal(manual.count, 1)
  manual.answer({ state: 'ok' })
  await asked
  t.equal(state.snapshot().database, 'ok')
})

t.test('a verdict is returned without a check for 100 ms, and checked again after that', async t => {
  const clock = { nowMs: 5_000 }
  const { manual, monitor } = monitored(t, { nowMs: () => clock.nowMs })
  const first = monitor.refresh()
  manual.answer({ state: 'ok' })
  await first
  clock.nowMs = 5_100
  t.ok(monitor.isFresh())
  await monitor.refresh()
  t.equal(manual.count, 1)
  clock.nowMs = 5_101
  t.notOk(monitor.isFresh())
  void monitor.refresh()
  t.equal(manual.count, 2)
})

t.test('without requests the checks repeat, one at a time', async t => {
  const { manual, monitor } = monitored(t, { idleMs: 1 })
  monitor.start()
  for (const _ of [1, 2, 3]) {
    t.equal(manual.running, 1)
    const next = manual.next()
    manual.answer({ state: 'ok' })
    await next
  }
})

t.test('while the last verdict is that the database is unresponsive, no request waits for the next check', async t => {
  const { manual, monitor, state } = monitored(t)
  const first = monitor.refresh()
  const again = manual.next()
  manual.answer({ state: 'database_timeout', cause: new Error('no answer') })
  await first
  await again
  await monitor.refresh()
  t.equal(manual.running, 1, 'the next check runs in the background')
  t.equal(state.snapshot().database, 'database_timeout')
})

t.test('each change is reported once, with its cause', async t => {
  const { manual, monitor, transitions } = monitored(t, { idleMs: 1 })
  const cause = new Error('connection refused')
  monitor.start()
  for (const result of [
    { state: 'ok' },
    { state: 'ok' },
    { state: 'database_unreachable', cause },
    { state: 'database_unreachable', cause },
    { state: 'ok' }
  ] satisfies CheckResult[]) {
    const next = manual.next()
    manual.answer(result)
    await next
  }
  t.strictSame(transitions, [
    { from: 'unknown', to: 'ok' },
    { from: 'ok', to: 'database_unreachable', cause },
    { from: 'database_unreachable', to: 'ok' }
  ])
})

t.test('while the check connects, the verdict is unchanged, and no request waits', async t => {
  const { manual, monitor, state, transitions } = monitored(t, { idleMs: 1 })
  monitor.start()
  for (const result of [{ state: 'connecting' }, { state: 'database_refused', cause: 1 }] satisfies CheckResult[]) {
    const next = manual.next()
    manual.answer(result)
    await next
  }
  const next = manual.next()
  manual.answer({ state: 'connecting' })
  await next
  await monitor.refresh()
  t.equal(manual.running, 1, 'the next check runs in the background')
  t.equal(state.snapshot().database, 'database_refused')
  const { databaseAgeMs } = state.snapshot()
  t.ok(databaseAgeMs <= 1_000, `the verdict does not expire: ${databaseAgeMs} ms`)
  t.strictSame(transitions, [{ from: 'unknown', to: 'database_refused', cause: 1 }])
})

t.test('if the check has to connect again and cannot do so at once, a usable database becomes unreachable', async t => {
  const { manual, monitor, state } = monitored(t, { idleMs: 1 })
  monitor.start()
  for (const result of [{ state: 'ok' }, { state: 'connecting' }] satisfies CheckResult[]) {
    const next = manual.next()
    manual.answer(result)
    await next
  }
  t.equal(state.snapshot().database, 'database_unreachable')
})

t.test('a request waits a limited time for a check', async t => {
  const { manual, monitor } = monitored(t, { refreshMs: 5 })
  await monitor.refresh()
  t.equal(manual.running, 1)
})

t.test('no check starts after stop', async t => {
  const { manual, monitor } = monitored(t)
  await monitor.stop()
  await monitor.refresh()
  t.equal(manual.count, 0)
})
