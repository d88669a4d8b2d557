import t from 'tap'
import { ThrottledAttempts } from '../../src/auth/throttled-attempts.ts'

/** An audit log whose writes end when the test calls `end`. */
function heldLog() {
  const writes: { slot: number; attempts: number; end: (err?: Error) => void }[] = []
  const recordThrottled = (slot: number, _entry: unknown, attempts: number) =>
    new Promise<void>((resolve, reject) => {
      writes.push({ slot, attempts, end: err => (err ? reject(err) : resolve()) })
    })
  return { writes, throttled: new ThrottledAttempts({ recordThrottled }) }
}

const entry = { action: 'sign_in', address: '192.0.2.1' }
const written = (writes: { slot: number; attempts: number }[]) => writes.map(({ slot, attempts }) => [slot, attempts])

t.test('the attempts of a slot that arrive during a write are written together', async t => {
  const { writes, throttled } = heldLog()
  const first = throttled.record(1, entry)
  const others = Array.from({ length: 50 }, () => throttled.record(1, entry))
  t.strictSame(written(writes), [[1, 1]])
  writes[0]?.end()
  await first
  await new Promise(setImmediate)
  t.strictSame(written(writes), [
    [1, 1],
    [1, 50]
  ])
  writes[1]?.end()
  await Promise.all(others)
})

t.test('two slots are written at a time, and a failure affects only its own attempts', async t => {
  const { writes, throttled } = heldLog()
  const results = [1, 2, 3].map(slot => throttled.record(slot, entry).catch((err: Error) => err.message))
  t.strictSame(written(writes), [
    [1, 1],
    [2, 1]
  ])
  writes[0]?.end(new Error('no database'))
  t.equal(await results[0], 'no database')
  await new Promise(setImmediate)
  t.strictSame(written(writes), [
    [1, 1],
    [2, 1],
    [3, 1]
  ])
  writes[1]?.end()
  writes[2]?.end()
  t.strictSame(await Promise.all(results), ['no database', undefined, undefined])
})
