import t from 'tap'
import { backOffMs } from '../../src/async/back-off.ts'

t.test('the wait doubles with each failure, up to its bound', async t => {
  const waits = [1, 2, 3, 4, 5, 5_000].map(failures => backOffMs({ minMs: 100, maxMs: 700 }, failures))
  t.strictSame(waits, [100, 200, 400, 700, 700, 700])
})

t.test('jitter shortens the wait by at most its share', async t => {
  const wait = (jitter: number, random: number) => backOffMs({ minMs: 100, maxMs: 700, jitter }, 2, () => random)
  t.strictSame([wait(0.25, 0), wait(0.25, 0.5), wait(1, 0), wait(1, 0.75)], [200, 175, 200, 50])
})
