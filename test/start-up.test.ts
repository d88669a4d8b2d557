import t from 'tap'
import { ConfigError } from '../src/config.ts'
import { SharedState } from '../src/health/shared-state.ts'
import { mayRunJobs } from '../src/health/verdict.ts'
import { StartError } from '../src/start-error.ts'
import { START_UP_STEPS, type StartUpSteps, startUp } from '../src/start-up.ts'
import { captureLog } from './support/app.ts'
import { skippingTimers } from './support/test-timers.ts'
import { tradingDatabase } from './support/trading.ts'

const database = await tradingDatabase(t)

/** The start-up steps that the plugins provide. */
const OTHERS = START_UP_STEPS.filter(name => name !== 'schema')

async function started(steps: Omit<StartUpSteps, 'schema'>, signal = new AbortController().signal) {
  const state = new SharedState()
  const { lines, logger: log } = captureLog('info')
  const timers = skippingTimers()
  await startUp({ database, state, log, steps, timers }, signal)
  const { migrated, started } = state.snapshot()
  const done = lines.filter(({ msg }) => msg === 'start-up step done')
  const failed = lines.filter(({ msg }) => msg === 'start-up step failed, retrying')
  return { migrated, started, lines, done, failed, waits: timers.waits }
}

t.test('the steps run in their declared order, the schema first, and each logs what it reports', async t => {
  const calls: string[] = []
  const step = (name: string) => async () => {
    calls.push(name)
    return name === 'scheduler' ? { jobs: 9 } : undefined
  }
  // Assigned in reverse order: the order of the plugins must not matter.
  const steps: Partial<Record<string, () => Promise<Record<string, unknown> | undefined>>> = {}
  for (const name of [...OTHERS].reverse()) steps[name] = step(name)
  const { migrated, started: isStarted, lines, done, failed } = await started(steps)
  t.strictSame(calls, OTHERS)
  t.strictSame([migrated, isStarted], [true, true])
  t.strictSame(
    done.map(line => line.step),
    [...START_UP_STEPS]
  )
  t.hasStrict(done[START_UP_STEPS.indexOf('scheduler')], { step: 'scheduler', jobs: 9, duration_ms: 0 })
  t.equal(lines.filter(({ msg }) => msg === 'schema up to date').length, 1)
  t.strictSame(failed, [])
})

t.test('a step that this replica does not have is skipped', async t => {
  const { started: isStarted, done } = await started({ replica: async () => {} })
  t.equal(isStarted, true)
  t.strictSame(
    done.map(line => line.step),
    ['schema', 'replica']
  )
})

t.test('a failed step is tried again with a back-off, and the steps before it are not repeated', async t => {
  const calls: string[] = []
  const failures = ['gone', 'gone', 'slow', 'slow', 'slow']
  const {
    started: isStarted,
    failed,
    waits
  } = await started({
    replica: async () => {
      calls.push('replica')
    },
    scheduler: async () => {
      calls.push('scheduler')
      const failure = failures.shift()
      if (failure) throw new Error(failure)
    },
    alerts: async () => {
      calls.push('alerts')
    }
  })
  t.equal(isStarted, true)
  t.strictSame(calls, ['replica', ...Array(6).fill('scheduler'), 'alerts'])
  t.strictSame(waits, [250, 500, 1_000, 1_000, 1_000])
  t.equal(failed.length, 2)
  t.hasStrict(failed[0], { step: 'scheduler', err: { message: 'gone' } })
  t.hasStrict(failed[1], { step: 'scheduler', err: { message: 'slow' } })
})

for (const rejected of [new ConfigError('TIME_ZONE: rejected'), new StartError('the key is lost')]) {
  t.test(`a ${rejected.name} of a step ends the start-up with this error, without another attempt`, async t => {
    const calls: string[] = []
    const steps = {
      time_zone: async () => {
        calls.push('time_zone')
        throw rejected
      },
      scheduler: async () => {
        calls.push('scheduler')
        return undefined
      }
    }
    await t.rejects(started(steps), rejected)
    t.strictSame(calls, ['time_zone'])
  })
}

t.test('an abort between two attempts ends the start-up, and the service does not count as started', async t => {
  const controller = new AbortController()
  let calls = 0
  const {
    migrated,
    started: isStarted,
    lines
  } = await started(
    {
      replica: async () => {
        calls++
        if (calls === 2) controller.abort()
        throw new Error('gone')
      },
      scheduler: async () => {
        t.fail('the next step starts')
      }
    },
    controller.signal
  )
  t.equal(calls, 2)
  t.strictSame([migrated, isStarted], [true, false])
  t.strictSame(
    lines.filter(({ msg }) => msg === 'start-up failed'),
    []
  )

  const before = await started({}, AbortSignal.abort())
  t.strictSame([before.migrated, before.started, before.lines], [false, false, []])
})

t.test('an incompatible schema is reported and delays the scheduler until the schema is compatible', async t => {
  const broken = await tradingDatabase(t)
  await broken.run(sql => sql`alter table job_runs rename column lease_token to lease_key`)
  const state = new SharedState()
  const { lines, logger: log } = captureLog('info')
  const ended = new AbortController()
  const seen: boolean[] = []
  const timers = {
    ...skippingTimers(),
    after: (_ms: number, callback: () => void) => {
      seen.push(mayRunJobs(state.snapshot()))
      const repair = () => broken.run(sql => sql`alter table job_runs rename column lease_key to lease_token`)
      if (seen.length === 2) void repair().then(callback)
      else setImmediate(callback)
      return () => undefined
    }
  }
  const scheduler = async () => ({ started: mayRunJobs(state.snapshot()) })
  await startUp({ database: broken, state, log, steps: { scheduler }, timers }, ended.signal)
  const failed = lines.filter(({ msg }) => msg === 'start-up step failed, retrying')
  t.equal(failed.length, 1)
  t.hasStrict(failed[0], {
    step: 'schema',
    err: { message: 'the schema does not fit: column lease_token of table job_runs is missing' }
  })
  t.strictSame(seen, [false, false])
  t.hasStrict(
    lines.find(({ step, msg }) => step === 'scheduler' && msg === 'start-up step done'),
    { started: true }
  )
  t.hasStrict(state.snapshot(), { migrated: true, started: true, incompatible: false })
})
