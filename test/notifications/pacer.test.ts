import t from 'tap'
import { Pacer } from '../../src/notifications/pacer.ts'
import { manualTimers } from '../support/test-timers.ts'

/** Lets all promises settle that can. */
const settled = () => new Promise(resolve => setImmediate(resolve))

t.test('a chat gets one message a second, in order', async t => {
  const timers = manualTimers()
  const pacer = new Pacer({ timers })
  const sent: string[] = []
  for (const name of ['first', 'second', 'third']) {
    void pacer.turn('1').then(() => sent.push(`${name} at ${timers.now()}`))
  }
  await settled()
  t.strictSame(sent, ['first at 0'])
  timers.advance(999)
  await settled()
  t.equal(sent.length, 1)
  timers.advance(1)
  await settled()
  timers.advance(1_000)
  await settled()
  t.strictSame(sent, ['first at 0', 'second at 1000', 'third at 2000'])
  t.equal(timers.pending(), 0, 'no timer is left')
})

t.test('all chats together get at most thirty messages in any second', async t => {
  const timers = manualTimers()
  const pacer = new Pacer({ timers })
  const at: number[] = []
  for (let chat = 0; chat < 70; chat++) void pacer.turn(String(chat)).then(() => at.push(timers.now()))
  await settled()
  t.equal(at.length, 30)
  timers.advance(1_000)
  await settled()
  t.equal(at.length, 60)
  timers.advance(1_000)
  await settled()
  t.strictSame(at.slice(60), Array(10).fill(2_000))
})

t.test('a chat on hold does not delay other chats', async t => {
  const timers = manualTimers()
  const pacer = new Pacer({ timers })
  pacer.hold('1', 41_000)
  const sent: string[] = []
  void pacer.turn('1').then(() => sent.push('1'))
  await pacer.turn('2')
  t.strictSame(sent, [])
  timers.advance(41_000)
  await settled()
  t.strictSame(sent, ['1'])
})

t.test('a turn beyond the given limit is refused at once, with the wait', async t => {
  const timers = manualTimers()
  const pacer = new Pacer({ timers })
  pacer.hold('1', 41_000)
  t.strictSame(await pacer.turn('1', 40_999), { granted: false, retryAfterMs: 41_000 })
  t.equal(timers.pending(), 0)
})

t.test('an aborted wait gives its turn to the next one', async t => {
  const timers = manualTimers()
  const pacer = new Pacer({ timers })
  await pacer.turn('1')
  const controller = new AbortController()
  const left = pacer.turn('1', undefined, controller.signal)
  const next = pacer.turn('1')
  controller.abort(new Error('gone'))
  await t.rejects(left, { message: 'gone' })
  timers.advance(1_000)
  t.strictSame(await next, { granted: true })
  await t.rejects(pacer.turn('1', undefined, controller.signal), { message: 'gone' })
  t.equal(timers.pending(), 0)
})
