import t from 'tap'
import { type StatementChange, StatementHealth } from '../../src/database/statement-health.ts'

const lockTimeout = Object.assign(new Error('lock timeout'), { name: 'PostgresError', code: '55P03' })

function counted() {
  const clock = { nowMs: 0 }
  const changes: StatementChange[] = []
  const health = new StatementHealth(
    change => changes.push(change),
    () => clock.nowMs
  )
  const fail = (kind: string, times = 1, err: unknown = 'reason') => {
    for (let i = 0; i < times; i++) health.failed(kind, err)
  }
  return { clock, changes, health, fail }
}

t.test('three failures in a row of one kind of call are a failure, and the first success ends it', async t => {
  const { clock, changes, health, fail } = counted()
  fail('poll', 2)
  t.strictSame(changes, [])
  health.succeeded('poll')
  fail('poll', 2)
  t.strictSame(changes, [], 'not in a row')
  clock.nowMs = 1_000
  fail('poll', 2)
  t.strictSame(changes, [{ failing: true, err: 'reason' }], 'reported once')
  clock.nowMs = 2_500
  health.succeeded('poll')
  t.strictSame(changes.slice(1), [{ failing: false, failures: 4, lastedMs: 2_500 }])
  t.equal(health.isClear, true)
})

t.test('failures of different kinds are not added up', async t => {
  const { changes, fail } = counted()
  for (const kind of ['a', 'b', 'c', 'd']) fail(kind, 2)
  t.strictSame(changes, [])
})

t.test('the success of one kind of call does not hide another that fails again and again', async t => {
  const { clock, changes, health, fail } = counted()
  for (let i = 0; i < 10; i++) {
    clock.nowMs = i * 3_000
    fail('heartbeat')
    for (const kind of ['poll', 'session']) health.succeeded(kind)
    clock.nowMs += 1_000
    health.succeeded('poll')
  }
  t.strictSame(changes, [{ failing: true, err: 'reason' }], 'without an end in between')
  health.succeeded('heartbeat')
  t.hasStrict(changes[1], { failing: false, failures: 10 })
})

t.test('the failure of a kind of call that is not repeated ends with a later success of another kind', async t => {
  const { clock, changes, health, fail } = counted()
  fail('sign-in', 3)
  clock.nowMs = 2_000
  health.succeeded('poll')
  t.equal(changes.length, 1)
  clock.nowMs = 2_001
  health.succeeded('poll')
  t.hasStrict(changes[1], { failing: false, failures: 3 })
})

t.test('a success of one of two kinds that fail for different reasons does not end the failure', async t => {
  const { changes, health, fail } = counted()
  fail('poll', 3, lockTimeout)
  fail('heartbeat', 3)
  health.succeeded('poll')
  t.equal(changes.length, 1)
  health.succeeded('heartbeat')
  t.equal(changes.length, 2)
})

t.test('when several kinds fail for one reason, the first success of one of them ends the failure', async t => {
  const { clock, changes, health, fail } = counted()
  for (let i = 0; i < 3; i++) {
    clock.nowMs = i * 5_000
    fail('sign-in', 1, lockTimeout)
  }
  fail('poll', 3, lockTimeout)
  health.succeeded('session')
  t.equal(changes.length, 1, 'the success of a kind that did not fail has no effect')
  health.succeeded('poll')
  t.hasStrict(changes[1], { failing: false, failures: 6 })
})

t.test('a kind of call that is still running counts as repeated', async t => {
  const { clock, changes, health, fail } = counted()
  fail('poll', 3)
  const ended = [health.began('poll'), health.began('poll')]
  clock.nowMs = 5_000
  health.succeeded('heartbeat')
  ended[0]?.()
  health.succeeded('heartbeat')
  t.equal(changes.length, 1)
  ended[1]?.()
  health.succeeded('heartbeat')
  t.equal(changes.length, 2)
})

t.test('a call that fails again for another reason does not end the failure', async t => {
  const { clock, changes, health, fail } = counted()
  fail('poll', 3)
  clock.nowMs = 2_500
  health.repeated('poll')
  health.repeated('heartbeat')
  clock.nowMs = 4_500
  health.succeeded('heartbeat')
  t.equal(changes.length, 1)
  clock.nowMs = 4_501
  health.succeeded('heartbeat')
  t.equal(changes.length, 2)
})
