import t from 'tap'
import { DeadlineError, withDeadline } from '../../src/async/deadline.ts'
import { manualTimers } from '../support/test-timers.ts'

t.test('work that settles in time gives its result or error, and leaves no timer', async t => {
  const timers = manualTimers()
  t.equal(await withDeadline(Promise.resolve(1), 100, { timers }), 1)
  t.equal(await withDeadline(async () => 2, 100, { timers }), 2)
  await t.rejects(withDeadline(Promise.reject(new Error('refused')), 100, { timers }), { message: 'refused' })
  t.equal(timers.pending(), 0)
})

t.test('late work is aborted, and the call rejects although the work continues', async t => {
  const timers = manualTimers()
  let given: AbortSignal | undefined
  const call = withDeadline(
    signal => {
      given = signal
      return new Promise(() => undefined)
    },
    100,
    { timers }
  )
  timers.advance(99)
  t.equal(given?.aborted, false)
  timers.advance(1)
  const missed = await call.catch((err: unknown) => err)
  t.ok(missed instanceof DeadlineError)
  t.equal(String(missed), 'DeadlineError: no answer within 100 ms')
  t.ok(given?.reason instanceof DeadlineError)
})

t.test("the caller's signal ends the wait with its reason and aborts the work", async t => {
  const timers = manualTimers()
  const closing = new AbortController()
  let given: AbortSignal | undefined
  const call = withDeadline(
    signal => {
      given = signal
      return new Promise(() => undefined)
    },
    100,
    { timers, signal: closing.signal }
  )
  closing.abort(new Error('closing'))
  await t.rejects(call, { message: 'closing' })
  t.equal(String(given?.reason), 'Error: closing')
  t.equal(timers.pending(), 0)
  await t.rejects(
    withDeadline(Promise.reject(new Error('refused')), 100, { timers, signal: closing.signal }),
    { message: 'closing' },
    'a later error of the work is handled'
  )
  await t.rejects(
    withDeadline(async () => t.fail('work began'), 100, { timers, signal: closing.signal }),
    { message: 'closing' }
  )
})
