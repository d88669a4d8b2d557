import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { HOUR, SECOND } from '../../src/async/durations.ts'
import { ClockPoller, type ClockPollerOptions } from '../../src/scheduler/clock-poller.ts'
import type { Job } from '../../src/scheduler/job.ts'
import type { FireTimes, Snapshot } from '../../src/scheduler/store.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { captureLog } from '../support/app.ts'
import { testJob } from '../support/jobs.ts'
import { manualTimers } from '../support/test-timers.ts'

/** The database time at 0 of the local monotonic clock. A whole hour, so that intervals are due at whole multiples. */
const START_MS = 500_000 * HOUR

const nothing = async () => ({})
const eachSecond = (id: string, rest: Partial<Job> = {}) => testJob(id, nothing, { trigger: every(SECOND), ...rest })
const dueIn = (jobId: string, ms: number | null, rest: Partial<FireTimes> = {}): FireTimes => ({
  jobId,
  paused: false,
  nextFireMs: ms === null ? null : START_MS + ms,
  firstDueMs: null,
  lastDoneMs: null,
  ...rest
})

/** A poller of a database whose state is `state`. `advance` moves its timers. */
function setUp(jobs: Job[], fireTimes: FireTimes[], options: Partial<ClockPollerOptions> = {}) {
  const timers = manualTimers()
  const waits: number[] = []
  const { lines, logger } = captureLog('info')
  const state: Omit<Snapshot, 'nowMs'> = { running: true, changedAtMs: START_MS, abandoned: [], jobs: fireTimes }
  const calls = {
    registered: [] as string[][],
    polls: 0,
    set: [] as { jobId: string; nextFireMs: number }[],
    fired: [] as { jobId: string; dueMs: number; atMs: number }[],
    listener: [] as string[],
    abandoned: [] as string[]
  }
  let failure: Error | undefined
  let notify = () => {}
  const poller = new ClockPoller({
    store: {
      register: async jobs => {
        if (failure) throw failure
        calls.registered.push(jobs.map(({ jobId, definition }) => `${jobId} ${definition}`))
      },
      poll: async () => {
        calls.polls++
        if (failure) throw failure
        return { nowMs: START_MS + timers.now(), ...state }
      },
      setFireTimes: async fires => {
        calls.set.push(...fires.map(({ jobId, nextFireMs }) => ({ jobId, nextFireMs: nextFireMs - START_MS })))
        state.jobs = fires.map(({ jobId, nextFireMs }) => dueIn(jobId, nextFireMs - START_MS))
      }
    },
    listen: (_url, onNotification) => {
      notify = onNotification
      return { restart: () => calls.listener.push('restart'), close: () => calls.listener.push('close') }
    },
    jobs,
    enabled: () => true,
    log: logger,
    fire: async ({ id }, { dueMs }) => {
      calls.fired.push({ jobId: id, dueMs: dueMs - START_MS, atMs: timers.now() })
      return 'settled'
    },
    onAbandoned: ({ runId }) => calls.abandoned.push(runId),
    timers: {
      ...timers,
      after: (ms, callback) => {
        waits.push(ms)
        return timers.after(ms, callback)
      }
    },
    ...options
  })
  t.teardown(() => poller.close())
  return {
    poller,
    timers,
    waits,
    lines,
    state,
    calls,
    notify: () => notify(),
    fail: (err: Error | undefined) => {
      failure = err
    },
    start: async () => {
      poller.start('postgres://unused')
      await setImmediate()
    },
    advance: async (ms: number) => {
      for (let step = 0; step < ms; step++) {
        timers.advance(1)
        await setImmediate()
      }
    }
  }
}

t.test('a job fires at its due time, and then at the next one', async t => {
  const { start, advance, calls } = setUp([eachSecond('a')], [dueIn('a', 400)], {})
  await start()
  await advance(399)
  t.strictSame(calls.fired, [])
  // The next poll is after 1 s, so the second fire time is computed from the first.
  await advance(600)
  t.strictSame(calls.fired, [{ jobId: 'a', dueMs: 400, atMs: 400 }])
  await advance(1)
  t.strictSame(calls.fired.slice(1), [{ jobId: 'a', dueMs: 1_000, atMs: 1_000 }])
})

t.test('a due time from a poll replaces the old one', async t => {
  const { start, advance, calls, state, notify } = setUp([testJob('a', nothing)], [dueIn('a', 500)])
  await start()
  await advance(100)
  state.jobs = [dueIn('a', 300)]
  notify()
  await advance(800)
  t.strictSame(calls.fired, [{ jobId: 'a', dueMs: 300, atMs: 300 }])
})

t.test('a due time in the past fires at once', async t => {
  const { start, advance, calls } = setUp([testJob('a', nothing)], [dueIn('a', -5 * SECOND)])
  await start()
  await advance(5)
  t.strictSame(calls.fired, [{ jobId: 'a', dueMs: -5_000, atMs: 5 }])
})

t.test('a due time further away than the longest timer does not fire early', async t => {
  const { start, waits, timers, calls } = setUp([testJob('a', nothing)], [dueIn('a', 2 ** 32)])
  await start()
  t.strictSame(
    waits.filter(ms => ms > SECOND),
    [2 ** 31 - 1]
  )
  timers.advance(2 ** 31 - 1)
  t.strictSame(calls.fired, [])
})

t.test('a fire ahead of the database clock is claimed again until it is due', async t => {
  const attempts: number[] = []
  const { start, advance, timers } = setUp([testJob('a', nothing)], [dueIn('a', 100)], {
    fire: async () => {
      attempts.push(timers.now())
      return attempts.length < 3 ? 'early' : 'settled'
    }
  })
  await start()
  await advance(200)
  t.strictSame(attempts, [100, 105, 110])
})

t.test('a fire whose claim fails is claimed again after the next poll', async t => {
  const attempts: number[] = []
  const { start, advance, timers, lines } = setUp([testJob('a', nothing)], [dueIn('a', 100)], {
    fire: async () => {
      attempts.push(timers.now())
      if (attempts.length < 3) throw new Error('no connection')
      return 'settled'
    }
  })
  await start()
  await advance(2_100)
  t.strictSame(attempts, [100, 1_005, 2_005])
  t.equal(lines.filter(({ msg }) => msg === 'claim failed').length, 1, 'logged once')
  t.hasStrict(
    lines.find(({ msg }) => msg === 'claim succeeded again'),
    { job_id: 'a', failures: 2 }
  )
  t.hasStrict(
    lines.find(({ msg }) => msg === 'claim failed'),
    { job_id: 'a', err: { message: 'no connection' } }
  )
})

t.test('a job does not fire again while its fire is being claimed', async t => {
  let settle = () => {}
  let attempts = 0
  const { start, advance, poller } = setUp([eachSecond('a')], [dueIn('a', 100)], {
    fire: () => {
      attempts++
      return new Promise(resolve => {
        settle = () => resolve('settled')
      })
    }
  })
  await start()
  await advance(3_000)
  t.equal(attempts, 1)
  t.equal(poller.times.get('a')?.dueMs, undefined, 'the polls do not restore the claimed due time')
  settle()
  await advance(1_100)
  t.equal(attempts, 2)
})

t.test('a stopped scheduler and a paused job fire nothing, also when that changes during a claim', async t => {
  const stopped = setUp([eachSecond('a')], [dueIn('a', 100)])
  stopped.state.running = false
  await stopped.start()
  await stopped.advance(1_500)
  t.strictSame(stopped.calls.fired, [])
  t.equal(stopped.poller.running, false)

  const paused = setUp([eachSecond('a'), eachSecond('b')], [dueIn('a', 100, { paused: true }), dueIn('b', 100)])
  await paused.start()
  await paused.advance(500)
  t.strictSame(paused.calls.fired, [{ jobId: 'b', dueMs: 100, atMs: 100 }])

  let settle = () => {}
  const during = setUp([eachSecond('a')], [dueIn('a', 100)], {
    fire: () =>
      new Promise(resolve => {
        settle = () => resolve('settled')
      })
  })
  await during.start()
  await during.advance(200)
  during.state.jobs = [dueIn('a', null, { paused: true })]
  during.notify()
  await during.advance(1)
  settle()
  await during.advance(1)
  t.equal(during.poller.times.get('a')?.dueMs, undefined)
})

t.test('a replica that is disabled, or has stopped firing, only polls', async t => {
  const disabled = setUp([testJob('a', nothing)], [dueIn('a', 100)], { enabled: () => false })
  await disabled.start()
  disabled.state.jobs = [dueIn('a', null)]
  await disabled.advance(1_500)
  t.strictSame([disabled.calls.fired, disabled.calls.set, disabled.calls.polls], [[], [], 2])

  const stopping = setUp([testJob('a', nothing)], [dueIn('a', 100)])
  await stopping.start()
  stopping.poller.stopFiring()
  stopping.state.jobs = [dueIn('a', null)]
  await stopping.advance(1_500)
  t.strictSame([stopping.calls.fired, stopping.calls.set, stopping.calls.polls], [[], [], 2])
})

t.test('a job without a fire time gets one, and the next poll starts at once', async t => {
  const { start, advance, notify, calls, state, lines } = setUp(
    [eachSecond('a')],
    [dueIn('a', null), dueIn('of another version', null)]
  )
  await start()
  t.strictSame(
    lines.map(({ msg }) => msg),
    ['scheduler state changed']
  )
  t.strictSame(calls.set, [{ jobId: 'a', nextFireMs: 1_000 }])
  t.equal(calls.polls, 2)

  state.jobs = [dueIn('a', null, { paused: true })]
  notify()
  await advance(1)
  state.running = false
  state.jobs = [dueIn('a', null)]
  notify()
  await advance(1)
  t.equal(calls.polls, 4)
  t.equal(calls.set.length, 1, 'not while it is paused or the scheduler is stopped')
})

t.test('after the database clock is set back by two hours the jobs run within their period', async t => {
  const own = eachSecond('own', { scope: 'replica', trigger: every(29 * SECOND) })
  const { start, advance, calls, state, lines, poller } = setUp(
    [testJob('a', nothing, { trigger: every(29 * SECOND) }), own, testJob('new', nothing)],
    [dueIn('a', 2 * HOUR + 20_000), dueIn('own', null), dueIn('new', null)]
  )
  await start()
  t.strictSame(
    calls.set.map(({ jobId }) => jobId),
    ['a', 'new']
  )
  t.equal(calls.set[0]?.nextFireMs, 14_000)
  await advance(14_000)
  t.strictSame(calls.fired, [
    { jobId: 'a', dueMs: 14_000, atMs: 14_000 },
    { jobId: 'own', dueMs: 14_000, atMs: 14_000 }
  ])
  const warnings = lines.filter(({ msg }) => String(msg).startsWith('fire times too far ahead'))
  t.strictSame(
    warnings.map(({ seconds_ahead }) => seconds_ahead),
    [{ a: 7_220 }],
    'logged once'
  )
  t.equal(state.running, true)
  t.equal(poller.monotonicMs, 14_000)
})

t.test('a replica job has its own due times, which a restart and a resume set again', async t => {
  const own = eachSecond('own', { scope: 'replica', trigger: every(10 * SECOND) })
  const { start, advance, calls, poller, state, notify } = setUp([own], [dueIn('own', null)])
  const dueMs = () => (poller.times.get('own')?.dueMs ?? Number.NaN) - START_MS
  const firstDueMs = () => (poller.times.get('own')?.firstDueMs ?? Number.NaN) - START_MS
  await start()
  t.equal(dueMs(), 10_000)
  await advance(10_500)
  t.strictSame(calls.fired, [{ jobId: 'own', dueMs: 10_000, atMs: 10_000 }])
  t.strictSame([dueMs(), firstDueMs()], [20_000, 10_000])
  t.strictSame(calls.set, [], 'the database does not store them')

  state.jobs = [dueIn('own', null, { paused: true })]
  notify()
  await advance(1)
  t.strictSame([dueMs(), firstDueMs()], [Number.NaN, Number.NaN])
  state.jobs = [dueIn('own', null)]
  notify()
  await advance(1)
  t.strictSame([dueMs(), firstDueMs()], [20_000, 20_000])
})

t.test('a replica job whose claim fails continues with its next due time', async t => {
  const own = eachSecond('own', { scope: 'replica' })
  const attempts: number[] = []
  const { start, advance, timers } = setUp([own], [dueIn('own', null)], {
    fire: async () => {
      attempts.push(timers.now())
      throw new Error('failed')
    }
  })
  await start()
  await advance(2_100)
  t.strictSame(attempts, [1_000, 2_000])
})

t.test('an abandoned run is logged and reported', async t => {
  const { start, state, calls, lines } = setUp([testJob('a', nothing)], [])
  state.abandoned = [{ runId: 'r', jobId: 'a', instance: 'two' }]
  await start()
  t.strictSame(calls.abandoned, ['r'])
  t.hasStrict(
    lines.find(({ msg }) => msg === 'run abandoned'),
    { run_id: 'r', job_id: 'a', instance: 'two' }
  )
})

t.test('a failing poll is logged once, and the listener is opened again after its end', async t => {
  const { start, advance, fail, calls, lines, poller } = setUp([testJob('a', nothing)], [])
  const logged = () => lines.map(({ msg }) => msg).filter(msg => String(msg).startsWith('scheduler poll'))
  fail(new Error('no connection'))
  await start()
  await advance(2_500)
  t.strictSame(calls.registered, [])
  t.equal(poller.pollAgeMs, null)
  t.equal(poller.databaseMs, undefined)
  t.equal(poller.running, undefined)
  t.strictSame(logged(), ['scheduler poll failed'])
  t.strictSame(calls.listener, ['restart'])
  fail(undefined)
  await advance(1_499)
  t.strictSame(calls.registered, [['a interval[4166 days, 16:00:00]']], 'the jobs are registered once')
  t.strictSame(logged(), ['scheduler poll failed', 'scheduler poll recovered'])
  t.strictSame(calls.listener, ['restart', 'restart'])
  t.equal(poller.pollAgeMs, 399, 'a failed poll is repeated after 200 ms, and other polls after a second')
  t.equal(poller.databaseMs, START_MS + 3_999)
})

t.test('a change of the state of the scheduler is logged once', async t => {
  const { start, advance, state, lines, calls } = setUp([testJob('a', nothing)], [])
  await start()
  await advance(3_500)
  state.running = false
  await advance(3_000)
  t.strictSame(calls.registered, [['a interval[4166 days, 16:00:00]']], 'the jobs are registered once')
  const changes = lines.filter(({ msg }) => msg === 'scheduler state changed').map(({ running }) => running)
  t.strictSame(changes, [true, false])
})

t.test('after close there are no polls, no fires and no listener', async t => {
  const { start, advance, poller, calls, timers, notify } = setUp([eachSecond('a')], [dueIn('a', 100)])
  await start()
  await poller.close()
  notify()
  await advance(1_500)
  t.equal(timers.pending(), 0)
  t.strictSame([calls.polls, calls.fired, calls.listener], [1, [], ['restart', 'close']])
})

t.test('a poller that was not started can be closed', async t => {
  const { poller, calls } = setUp([testJob('a', nothing)], [])
  await poller.close()
  t.strictSame(calls.listener, [])
})

t.test('the earliest due time sets the timer; without a due time there is none', async t => {
  const { start, advance, waits, timers, calls, state, notify } = setUp(
    [testJob('a', nothing), testJob('b', nothing)],
    []
  )
  await start()
  t.strictSame(waits, [SECOND])
  t.equal(timers.pending(), 1, 'the next poll')
  state.jobs = [dueIn('a', 501), dueIn('b', 500)]
  notify()
  await advance(501)
  t.strictSame(calls.fired, [
    { jobId: 'b', dueMs: 500, atMs: 500 },
    { jobId: 'a', dueMs: 501, atMs: 501 }
  ])
})

t.test('a job fires while the fire of another one is being claimed', async t => {
  const attempts: string[] = []
  const { start, advance } = setUp([testJob('a', nothing), testJob('b', nothing)], [dueIn('a', 100), dueIn('b', 200)], {
    fire: ({ id }) => {
      attempts.push(id)
      return new Promise(() => {})
    }
  })
  await start()
  await advance(200)
  t.strictSame(attempts, ['a', 'b'])
})

t.test('without polls a replica job whose claim fails continues, and a cluster job waits for a poll', async t => {
  const attempts: { id: string; atMs: number }[] = []
  const jobs = [eachSecond('own', { scope: 'replica' }), eachSecond('shared')]
  const { start, advance, fail, timers } = setUp(jobs, [dueIn('own', null), dueIn('shared', 1_000)], {
    fire: async ({ id }) => {
      attempts.push({ id, atMs: timers.now() })
      throw new Error('no connection')
    }
  })
  await start()
  fail(new Error('no connection'))
  await advance(3_100)
  t.strictSame(attempts, [
    { id: 'own', atMs: 1_000 },
    { id: 'shared', atMs: 1_000 },
    { id: 'own', atMs: 2_000 },
    { id: 'own', atMs: 3_000 }
  ])
})

t.test('a due time of a replica job that has come is replaced only after a change of the scheduler', async t => {
  const own = eachSecond('own', { scope: 'replica' })
  const { start, advance, poller, state, notify } = setUp([own], [dueIn('own', null)], { enabled: () => false })
  const dueMs = () => (poller.times.get('own')?.dueMs ?? Number.NaN) - START_MS
  await start()
  await advance(2_500)
  t.equal(dueMs(), 1_000)
  state.changedAtMs++
  notify()
  await advance(1)
  t.equal(dueMs(), 3_000)
})

t.test('two jobs with the same id are rejected', async t => {
  t.throws(() => setUp([testJob('a', nothing), testJob('a', nothing)], []), { message: 'two jobs have the same id' })
})
