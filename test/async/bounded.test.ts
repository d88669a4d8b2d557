import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { atMost, eachAtMost, isolatingErrors, oneAtATime, portionsOf } from '../../src/async/bounded.ts'
import { assertRows } from '../support/assert-rows.ts'

t.test('at most the given number of items are in progress at once, and all are processed', async t => {
  let [now, most] = [0, 0]
  const done: number[] = []
  await eachAtMost(3, [1, 2, 3, 4, 5, 6, 7], async item => {
    most = Math.max(most, ++now)
    await setImmediate()
    now--
    done.push(item)
  })
  t.equal(most, 3)
  t.strictSame(done.sort(), [1, 2, 3, 4, 5, 6, 7])
})

t.test(
  'after a failure no further item is started, and the error is thrown when the running ones have ended',
  async t => {
    const [begun, ended]: number[][] = [[], []]
    const work = eachAtMost(2, [1, 2, 3, 4], async item => {
      begun?.push(item)
      if (item === 1) throw new Error('the first')
      await setImmediate()
      ended?.push(item)
    })
    await t.rejects(work, { message: 'the first' })
    t.strictSame([begun, ended], [[1, 2], [2]])
  }
)

t.test('oneAtATime starts a call after the previous one has ended, even if that one failed', async t => {
  const inTurn = oneAtATime()
  const log: string[] = []
  const piece = (name: string, fails = false) =>
    inTurn(async () => {
      log.push(`${name} begins`)
      await setImmediate()
      log.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    })
  const [a, b] = await Promise.allSettled([piece('a', true), piece('b')])
  assertRows(t, [a, b], [{ status: 'rejected' }, { status: 'fulfilled', value: 'b' }])
  t.strictSame(log, ['a begins', 'a ends', 'b begins', 'b ends'])
})

t.test('atMost runs at most the given number of calls at once, the others in order, even after a failure', async t => {
  const bounded = atMost(2)
  const ends: (() => void)[] = []
  const begun: number[] = []
  const results = [0, 1, 2, 3, 4].map(i =>
    bounded(async () => {
      begun.push(i)
      await new Promise<void>(resolve => {
        ends[i] = resolve
      })
      if (i === 0) throw new Error('the first')
      return i
    })
  )
  results[0]?.catch(() => undefined)
  await setImmediate()
  t.strictSame(begun, [0, 1])
  ends[0]?.()
  await setImmediate()
  t.strictSame(begun, [0, 1, 2])
  ends[1]?.()
  ends[2]?.()
  await setImmediate()
  t.strictSame(begun, [0, 1, 2, 3, 4])
  ends[3]?.()
  ends[4]?.()
  const settled = await Promise.allSettled(results)
  t.strictSame(
    settled.map(result => (result.status === 'fulfilled' ? result.value : String(result.reason))),
    ['Error: the first', 1, 2, 3, 4]
  )
})

t.test('portions contain every element once, in order', async t => {
  t.strictSame([...portionsOf([1, 2, 3, 4, 5], 2)], [[1, 2], [3, 4], [5]])
  t.strictSame([...portionsOf([], 2)], [])
})

t.test('the items that cause an error are isolated, and the others are processed', async t => {
  const processed: number[] = []
  const bad: string[] = []
  const work = async (items: readonly number[]) => {
    const odd = items.find(item => item % 4 === 3)
    if (odd !== undefined) throw odd === 11 ? new RangeError('not of the items') : new Error(`item ${odd}`)
    processed.push(...items)
  }
  const isOfItems = (err: unknown) => !(err instanceof RangeError)
  await isolatingErrors([1, 2, 3, 4, 5, 6, 7, 8, 9], work, isOfItems, (item, err) => bad.push(`${item} ${String(err)}`))
  t.strictSame(processed, [1, 2, 4, 5, 6, 8, 9])
  t.strictSame(bad, ['3 Error: item 3', '7 Error: item 7'])
  await t.rejects(
    isolatingErrors([10, 11, 12], work, isOfItems, () => t.fail()),
    { message: 'not of the items' }
  )
  await isolatingErrors([], work, isOfItems, () => t.fail())
})
