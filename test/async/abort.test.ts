import t from 'tap'
import { unlessAborted } from '../../src/async/abort.ts'

t.test('work that settles before the abort gives its result or error', async t => {
  const { signal } = new AbortController()
  t.equal(await unlessAborted(Promise.resolve(1), signal), 1)
  await t.rejects(unlessAborted(Promise.reject(new Error('refused')), signal), { message: 'refused' })
})

t.test('an abort ends the wait with its reason, and a later error of the work is handled', async t => {
  const controller = new AbortController()
  let fail = (_err: Error) => {}
  const work = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  const wait = unlessAborted(work, controller.signal)
  controller.abort(new Error('closing'))
  await t.rejects(wait, { message: 'closing' })
  await t.rejects(
    unlessAborted(work, controller.signal),
    { message: 'closing' },
    'the same for a signal that is already aborted'
  )
  fail(new Error('refused'))
  await new Promise(setImmediate)
})
