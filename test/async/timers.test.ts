import t from 'tap'
import { backgroundTimers, sleep, systemTimers } from '../../src/async/timers.ts'
import { manualTimers } from '../support/test-timers.ts'

t.test('a sleep ends after its time on the machine clock', async t => {
  const before = systemTimers.now()
  await sleep(systemTimers, 1)
  const after = systemTimers.now()
  t.ok(after > before, `${before} ms, then ${after} ms`)
})

t.test('a sleep that is aborted ends at once with the reason and leaves no timer', async t => {
  const timers = manualTimers()
  const controller = new AbortController()
  const slept = sleep(timers, 1_000, controller.signal)
  t.equal(timers.pending(), 1)
  controller.abort(new Error('enough'))
  await t.rejects(slept, { message: 'enough' })
  t.equal(timers.pending(), 0)
  await t.rejects(sleep(timers, 1_000, controller.signal), { message: 'enough' })

  const onTheMachine = new AbortController()
  const longest = sleep(systemTimers, 2 ** 31 - 1, onTheMachine.signal)
  onTheMachine.abort(new Error('enough'))
  await t.rejects(longest, { message: 'enough' }, 'the aborted sleep left no timer, so this file can end')
})

t.test('a background timer fires while something else keeps the process alive', async t => {
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  await new Promise<void>(resolve => backgroundTimers.after(1, resolve))
  const cancel = backgroundTimers.after(1, () => t.fail('a canceled timer calls back'))
  cancel()
  await new Promise<void>(resolve => backgroundTimers.after(2, resolve))
})
