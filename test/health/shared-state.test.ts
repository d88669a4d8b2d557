import t from 'tap'
import { DATABASE_FAILURES } from '../../src/database/failure.ts'
import { SharedState } from '../../src/health/shared-state.ts'

t.test('in a new state the service has not started, and the database is unknown', async t => {
  t.hasStrict(new SharedState().snapshot(), {
    database: 'unknown',
    migrated: false,
    started: false,
    draining: false,
    pressure: false,
    failing: false,
    incompatible: false
  })
})

t.test('each thread reads the values that the other thread wrote', async t => {
  const writer = new SharedState()
  const reader = new SharedState(writer.buffer)
  writer.setMigrated()
  writer.setStarted()
  writer.setDraining()
  writer.setPressure(true)
  writer.setFailing(true, 1_250)
  writer.setIncompatible(true)
  reader.setDatabase('database_refused', 1_000, 7)
  writer.beat(1_500)
  const seen = {
    database: 'database_refused',
    databaseAgeMs: 1_000,
    migrated: true,
    started: true,
    draining: true,
    pressure: true,
    failing: true,
    incompatible: true,
    heartbeatAgeMs: 500
  }
  t.strictSame(reader.snapshot(2_000), seen)
  t.strictSame(writer.snapshot(2_000), seen)
  t.strictSame(writer.databaseTiming(2_000), { latencyMs: 7, sinceMs: 1_000, failingSinceMs: 750 })
  writer.setFailing(false)
  writer.setIncompatible(false)
  t.hasStrict(reader.snapshot(2_000), { failing: false, incompatible: false, pressure: true, started: true })
})

t.test('the end of pressure changes no other flag', async t => {
  const state = new SharedState()
  state.setStarted()
  state.setPressure(true)
  state.setPressure(false)
  t.hasStrict(state.snapshot(), { started: true, pressure: false })
})

t.test('an age is never negative, even if the reader read the clock before the writer', async t => {
  const state = new SharedState()
  state.setDatabase('ok', 2_000)
  state.beat(2_000)
  t.hasStrict(state.snapshot(1_999), { databaseAgeMs: 0, heartbeatAgeMs: 0 })
})

t.test('every database state is read as it was written', async t => {
  const state = new SharedState()
  for (const database of ['ok', ...DATABASE_FAILURES, 'unknown'] as const) {
    state.setDatabase(database, Number.MAX_SAFE_INTEGER)
    t.equal(state.snapshot(Number.MAX_SAFE_INTEGER).database, database)
  }
})

t.test('a verdict is fresh for a limited time, or while the database is unresponsive', async t => {
  const state = new SharedState()
  state.setDatabase('ok', 1_000)
  t.equal(state.isDatabaseFresh(100, 1_100), true)
  t.equal(state.isDatabaseFresh(100, 1_101), false)
  state.setDatabase('database_timeout', 1_000)
  t.equal(state.isDatabaseFresh(100, 9_000), true)
})
