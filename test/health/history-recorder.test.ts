import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { HOUR, SECOND } from '../../src/async/durations.ts'
import { type CheckState, HistoryRecorder } from '../../src/health/history-recorder.ts'
import { type PeriodRecord, READINESS } from '../../src/health/history-store.ts'
import { captureLog } from '../support/app.ts'
import { manualTimers } from '../support/test-timers.ts'

/** A recorder of the checks in `state`. `advance` moves its timers. */
async function setUp({ writes = true } = {}) {
  const timers = manualTimers()
  const { lines, logger: log } = captureLog('info')
  const written: PeriodRecord[][] = []
  const state = { ready: null as string | null, scheduler: null as string | null, failing: false, wallAheadMs: 0 }
  const recorder = new HistoryRecorder({
    store: {
      write: async rows => {
        if (state.failing) throw new Error('no connection')
        written.push([...rows])
      }
    },
    checks: async (): Promise<CheckState[]> => [
      { name: READINESS, code: state.ready },
      { name: 'scheduler', code: state.scheduler }
    ],
    instance: () => 'one',
    log,
    timers,
    wallMs: () => timers.now() + state.wallAheadMs
  })
  t.teardown(() => recorder.stop())
  const settle = async () => {
    for (let i = 0; i < 5; i++) await setImmediate()
  }
  recorder.startSampling()
  if (writes) recorder.startWriting()
  await settle()
  const advance = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += SECOND) {
      timers.advance(SECOND)
      await settle()
    }
  }
  /** The periods of the last write, without their ids. */
  const latest = () => {
    const periods = new Map(written.flat().map(row => [row.periodId, row]))
    return [...periods.values()].map(({ check, code, isOver }) => ({ check, code, isOver }))
  }
  return { recorder, state, written, lines, advance, settle, latest }
}

const ready = { check: READINESS, code: null, isOver: false }

t.test('readiness is always recorded, and other checks only while they fail', async t => {
  const { state, advance, latest, written } = await setUp()
  await advance(SECOND)
  t.strictSame(latest(), [ready])
  state.scheduler = 'wedged'
  await advance(SECOND)
  t.strictSame(latest(), [ready, { check: 'scheduler', code: 'wedged', isOver: false }])
  state.scheduler = 'overdue'
  state.ready = 'database_unreachable'
  await advance(SECOND)
  state.scheduler = null
  await advance(SECOND)
  t.strictSame(latest(), [
    { ...ready, isOver: true },
    { check: 'scheduler', code: 'wedged', isOver: true },
    { check: READINESS, code: 'database_unreachable', isOver: false },
    { check: 'scheduler', code: 'overdue', isOver: true }
  ])
  const overdue = written.flat().find(({ code, isOver }) => code === 'overdue' && isOver)
  t.strictSame([overdue?.fromAgeMs, overdue?.untilAgeMs, overdue?.instance], [1_000, 0, 'one'])
})

t.test('a change is written at once, and a current period is confirmed every ten seconds', async t => {
  const { state, advance, written } = await setUp()
  await advance(SECOND)
  const before = written.length
  await advance(30 * SECOND)
  t.equal(written.length - before, 3)
  state.ready = 'overloaded'
  await advance(SECOND)
  t.equal(written.length - before, 4)
})

t.test('an outage of the database is written after its end, with the correct times', async t => {
  const { state, advance, written, lines } = await setUp()
  await advance(SECOND)
  state.failing = true
  state.ready = 'database_unreachable'
  await advance(60 * SECOND)
  state.ready = null
  await advance(20 * SECOND)
  t.equal(written.flat().filter(({ code }) => code === 'database_unreachable').length, 0)
  state.failing = false
  await advance(10 * SECOND)
  const outage = written.flat().find(({ code }) => code === 'database_unreachable')
  t.equal((outage?.fromAgeMs ?? 0) - (outage?.untilAgeMs ?? 0), 60_000)
  t.equal(outage?.isOver, true)
  t.strictSame(
    lines.map(({ msg }) => msg),
    ['health history not written', 'health history written again']
  )
})

t.test('at most 1,000 ended periods are kept for the next write, and the number of dropped ones is logged', async t => {
  const { state, advance, written, lines } = await setUp()
  await advance(SECOND)
  state.failing = true
  for (let i = 0; i < 1_003; i++) {
    state.ready = `code ${i}`
    await advance(SECOND)
  }
  state.failing = false
  await advance(10 * SECOND)
  const rows = written.at(-1) ?? []
  t.equal(rows.length, 1_001, '1,000 ended periods and the current one')
  t.strictSame(
    lines.filter(({ msg }) => msg === 'health history incomplete').map(({ dropped }) => dropped),
    [3]
  )
})

t.test('a time in which the machine was suspended does not count as ready', async t => {
  const { state, advance, written } = await setUp()
  await advance(5 * SECOND)
  state.wallAheadMs = 8 * HOUR
  await advance(SECOND)
  const ended = written.flat().filter(({ isOver }) => isOver)
  t.strictSame(
    ended.map(({ check, code, untilAgeMs }) => ({ check, code, untilAgeMs })),
    [{ check: READINESS, code: null, untilAgeMs: undefined }]
  )
  const [begun] = (written.at(-1) ?? []).filter(({ isOver }) => !isOver)
  t.strictSame([begun?.check, begun?.fromAgeMs], [READINESS, 0])
})

t.test('a stop ends the current period, and a replica that has not begun to write writes nothing', async t => {
  const stopped = await setUp()
  await stopped.advance(SECOND)
  await stopped.recorder.stop()
  t.strictSame(stopped.latest(), [{ ...ready, isOver: true }])
  const early = await setUp({ writes: false })
  await early.advance(20 * SECOND)
  await early.recorder.stop()
  t.strictSame(early.written, [])
})
