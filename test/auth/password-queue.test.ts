import t from 'tap'
import { PasswordQueue } from '../../src/auth/password-queue.ts'

/** Removes all tasks, in order. */
function drain(queue: PasswordQueue<string>): string[] {
  const order: string[] = []
  for (let next = queue.next(); next !== undefined; next = queue.next()) order.push(next)
  return order
}

t.test('tasks of known callers are accepted and run next, with any number of other tasks', async t => {
  const queue = new PasswordQueue<string>()
  const others = Array.from({ length: 100 }, (_, i) => queue.add(`other ${i}`))
  t.equal(others.filter(Boolean).length, 62, 'the lane of the others is bounded')
  t.equal(queue.add('known', 7), true)
  t.equal(queue.size, 63)
  t.equal(queue.next(), 'known')
  t.equal(queue.next(), 'other 0')
  t.equal(drain(queue).length, 61)
})

t.test('one of four tasks is of another caller while known callers wait', async t => {
  const queue = new PasswordQueue<string>()
  for (let i = 0; i < 3; i++) queue.add(`other ${i}`)
  for (let i = 0; i < 8; i++) queue.add(`known ${i}`, i)
  t.strictSame(drain(queue), [
    ...['known 0', 'known 1', 'known 2', 'other 0'],
    ...['known 3', 'known 4', 'known 5', 'other 1'],
    ...['known 6', 'known 7', 'other 2']
  ])
})

t.test('one known caller cannot fill the lane: beyond four tasks it waits with the others', async t => {
  const queue = new PasswordQueue<string>()
  const added = Array.from({ length: 200 }, (_, i) => queue.add(`greedy ${i}`, 1))
  t.equal(added.filter(Boolean).length, 4 + 62)
  t.equal(queue.add('known', 2), true)
  t.strictSame(drain(queue).slice(0, 6), ['greedy 0', 'greedy 1', 'greedy 2', 'greedy 4', 'greedy 3', 'known'])
})

t.test('the lane of known callers is also bounded', async t => {
  const queue = new PasswordQueue<string>()
  const added = Array.from({ length: 200 }, (_, i) => queue.add(`known ${i}`, i))
  t.equal(added.filter(Boolean).length, 62 + 62)
})
