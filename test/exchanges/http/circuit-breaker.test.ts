import t from 'tap'
import { type Admission, CircuitBreaker } from '../../../src/exchanges/http/circuit-breaker.ts'

/** A breaker and its clock, which only the test advances. */
function breaker() {
  const clock = { now: 0 }
  const circuit = new CircuitBreaker(() => clock.now)
  const admitted = (): Admission => {
    const admission = circuit.admit()
    if (admission === null) throw new Error('not admitted')
    return admission
  }
  const fail = (times: number) => {
    for (let i = 0; i < times; i++) circuit.recordFailure(admitted())
  }
  return { clock, circuit, admitted, fail }
}

t.test('stays closed while failures are not consecutive', async t => {
  const { circuit, fail } = breaker()
  for (let i = 0; i < 10; i++) {
    fail(4)
    circuit.recordSuccess()
  }
  t.equal(circuit.state, 'closed')
})

t.test('opens after five consecutive failures, for ten seconds', async t => {
  const { clock, circuit, fail } = breaker()
  fail(5)
  t.equal(circuit.state, 'open')
  t.equal(circuit.admit(), null)
  t.equal(circuit.retryAfterMs, 10_000)
  clock.now = 9_999
  t.equal(circuit.state, 'open')
})

t.test('after that time it admits one trial call, whose success closes it', async t => {
  const { clock, circuit, fail } = breaker()
  fail(5)
  clock.now = 10_000
  t.equal(circuit.state, 'half_open')
  t.equal(circuit.admit(), 'trial')
  t.equal(circuit.admit(), null, 'only one at a time')
  circuit.recordSuccess()
  t.equal(circuit.state, 'closed')
  t.equal(circuit.admit(), 'call')
})

t.test('opens for twice as long after a failed trial, up to a minute', async t => {
  const { clock, circuit, admitted, fail } = breaker()
  fail(5)
  for (const openFor of [20_000, 40_000, 60_000, 60_000]) {
    clock.now += circuit.retryAfterMs
    circuit.recordFailure(admitted())
    t.equal(circuit.retryAfterMs, openFor)
  }
})

t.test('after a released trial the next one is admitted', async t => {
  const { clock, circuit, admitted, fail } = breaker()
  fail(5)
  clock.now = 10_000
  circuit.release(admitted())
  t.equal(circuit.admit(), 'trial')
})

t.test('failures of calls that began before it opened do not prolong it', async t => {
  const { clock, circuit, admitted, fail } = breaker()
  const before = admitted()
  fail(5)
  clock.now = 9_000
  circuit.recordFailure(before)
  t.equal(circuit.retryAfterMs, 1_000)
  clock.now = 10_000
  t.equal(admitted(), 'trial')
  circuit.release(before)
  t.equal(circuit.admit(), null, 'their release does not end the trial of another call')
})
