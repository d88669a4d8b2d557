import t from 'tap'
import { DeadlineError } from '../../src/async/deadline.ts'
import { MissedCalls } from '../../src/database/missed-calls.ts'
import { manualTimers } from '../support/test-timers.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))

/** A client with two connections, and a call on it that missed its deadline. */
function missedCall() {
  const timers = manualTimers()
  const [one, two] = [{}, {}]
  let bytes: [number, number] = [10, 10]
  const client = { received: () => new Map([[one, bytes[0]] as const, [two, bytes[1]] as const]) }
  let resolve: () => void = () => undefined
  let reject: (err: Error) => void = () => undefined
  const promise = new Promise<void>((done, failed) => {
    resolve = done
    reject = failed
  })
  const missed = new MissedCalls(timers)
  const dead: string[] = []
  missed.add(client, promise, new DeadlineError('missed'), err => dead.push(err.message))
  return {
    ...{ timers, client, missed, dead },
    resolve: () => resolve(),
    reject: (err: Error) => reject(err),
    /** Moves the clock, and lets the event loop read. */
    pass: async (ms: number) => {
      timers.advance(ms)
      await turn()
    },
    receive: (first: number, second: number) => {
      bytes = [bytes[0] + first, bytes[1] + second]
    }
  }
}

t.test('a call that waits while all connections receive something is followed without a result', async t => {
  const { timers, pass, dead, receive, resolve } = missedCall()
  for (let i = 0; i < 5; i++) {
    receive(1, 1)
    await pass(3_000)
  }
  t.strictSame(dead, [])
  resolve()
  await turn()
  t.equal(timers.pending(), 0, 'no timer is left of a call that has ended')
})

t.test('a connection that receives nothing for three seconds is reported once', async t => {
  const { timers, pass, dead, receive } = missedCall()
  receive(1, 0)
  await pass(2_999)
  t.strictSame(dead, [])
  await pass(1)
  t.strictSame(dead, ['missed'])
  await pass(60_000)
  t.strictSame(dead, ['missed'])
  t.equal(timers.pending(), 0)
})

t.test('a call that ends with an error in time reports nothing', async t => {
  const { pass, dead, reject } = missedCall()
  reject(new Error('the statement failed'))
  await turn()
  await pass(60_000)
  t.strictSame(dead, [])
})

t.test('calls are not followed any more after an end', async t => {
  const { timers, pass, missed, dead } = missedCall()
  missed.clear()
  t.equal(timers.pending(), 0)
  await pass(60_000)
  t.strictSame(dead, [])
})

t.test('a client has answered when one of its connections received something, a new one included', async t => {
  const { client, receive } = missedCall()
  const since = client.received()
  t.equal(MissedCalls.hasAnswered(client, since), false)
  t.equal(MissedCalls.hasAnswered(client, new Map()), true)
  receive(0, 1)
  t.equal(MissedCalls.hasAnswered(client, since), true)
})
