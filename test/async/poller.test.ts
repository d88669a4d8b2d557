import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Poller, type PollerOptions } from '../../src/async/poller.ts'
import { systemTimers, type Timers } from '../../src/async/timers.ts'
import type { Log } from '../../src/log/log.ts'
import { manualTimers } from '../support/test-timers.ts'

type Outcome = number | undefined | Error

/** A log that adds each line to `lines`, as its level and arguments. */
function recordingLog(lines: unknown[][]): Log {
  const line =
    (level: string) =>
    (...args: unknown[]) => {
      lines.push([level, ...args])
    }
  const log: Log = {
    trace: line('trace'),
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    fatal: line('fatal'),
    child: () => log
  }
  return log
}

/** A poller whose polls end when the test calls `end`. */
function scripted(options: Partial<PollerOptions> = {}) {
  const timers = manualTimers()
  const lines: unknown[][] = []
  const ends: ((outcome: Outcome) => void)[] = []
  const signals: AbortSignal[] = []
  const poller = new Poller({
    poll: signal => {
      signals.push(signal)
      return new Promise((resolve, reject) => {
        ends.push(outcome => (outcome instanceof Error ? reject(outcome) : resolve(outcome)))
      })
    },
    intervalMs: 1_000,
    log: recordingLog(lines),
    failedMessage: 'poll failed',
    recoveredMessage: 'poll recovered',
    timers,
    ...options
  })
  return {
    poller,
    timers,
    lines,
    signals,
    /** How many polls have started. */
    started: async () => {
      await setImmediate()
      return signals.length
    },
    /** Ends the oldest running poll. */
    end: async (outcome?: Outcome) => {
      await setImmediate()
      ends.shift()?.(outcome)
      await setImmediate()
    }
  }
}

t.test('the next poll starts one interval after the end of a poll', async t => {
  const { poller, timers, started, end } = scripted()
  poller.start()
  poller.start()
  t.equal(await started(), 1, 'start is idempotent')
  timers.advance(5_000)
  t.equal(await started(), 1, 'no poll starts while one runs')
  await end()
  timers.advance(999)
  t.equal(await started(), 1)
  timers.advance(1)
  t.equal(await started(), 2)
})

t.test('the first poll waits when start is given a delay', async t => {
  const { poller, timers, started } = scripted()
  poller.start(300)
  timers.advance(299)
  t.equal(await started(), 0)
  timers.advance(1)
  t.equal(await started(), 1)
})

t.test('a poll may return the wait before the next one', async t => {
  const { poller, timers, started, end } = scripted()
  poller.start()
  await end(50)
  timers.advance(49)
  t.equal(await started(), 1)
  timers.advance(1)
  t.equal(await started(), 2)
})

t.test('a kick replaces the wait', async t => {
  const { poller, timers, started, end } = scripted()
  poller.start()
  await end()
  t.equal(timers.pending(), 1)
  void poller.kick()
  t.equal(await started(), 2)
  t.equal(timers.pending(), 0)
  await end()
  timers.advance(1_000)
  t.equal(await started(), 3)
})

t.test('kicks during a poll make exactly one more poll, and wait for its end', async t => {
  const { poller, timers, started, end } = scripted()
  const ended: string[] = []
  const note = (name: string) => () => {
    ended.push(name)
  }
  void poller.kick().then(note('first'))
  t.equal(await started(), 1)
  void poller.kick().then(note('second'))
  void poller.kick().then(note('third'))
  await end()
  t.strictSame(ended, ['first'])
  t.equal(await started(), 2)
  await end()
  t.strictSame(ended, ['first', 'second', 'third'])
  t.equal(await started(), 2)
  t.equal(timers.pending(), 0, 'no further poll follows without start')
})

t.test('a poll may call kick', async t => {
  let polls = 0
  const { poller } = scripted({
    poll: async () => {
      polls++
      if (polls < 3) void poller.kick()
    }
  })
  await poller.kick()
  await setImmediate()
  t.equal(polls, 3)
})

t.test('stop aborts the running poll, waits for it, and starts no other', async t => {
  const { poller, timers, lines, signals, started, end } = scripted()
  poller.start()
  t.equal(await started(), 1)
  const requested = poller.kick()
  let stopped = false
  const stop = poller.stop().then(() => {
    stopped = true
  })
  await setImmediate()
  t.strictSame([signals[0]?.aborted, stopped], [true, false])
  await end(new Error('aborted'))
  await Promise.all([stop, requested])
  t.strictSame(lines, [], 'the failure of an aborted poll is not logged')
  await poller.stop()
  await poller.kick()
  poller.start()
  timers.advance(10_000)
  t.equal(await started(), 1)
  t.equal(timers.pending(), 0)
})

t.test('stop cancels the wait, and a poll that has not started', async t => {
  const waiting = scripted()
  waiting.poller.start()
  await waiting.end()
  await waiting.poller.stop()
  t.equal(waiting.timers.pending(), 0)

  const early = scripted()
  early.poller.start()
  await early.poller.stop()
  t.equal(await early.started(), 0)
  t.equal(early.timers.pending(), 0)

  const never = scripted()
  await never.poller.stop()
  never.poller.start()
  t.equal(await never.started(), 0)
})

t.test('a failure is logged once per reason, and its end once', async t => {
  let recovered = 0
  const { poller, timers, lines, end } = scripted({ onRecovered: () => recovered++ })
  const [gone, slow] = [new Error('gone'), new Error('slow')]
  poller.start()
  for (const outcome of [undefined, gone, gone, slow, undefined, undefined, gone]) {
    await end(outcome)
    timers.advance(1_000)
  }
  t.strictSame(lines, [
    ['warn', { err: gone }, 'poll failed'],
    ['warn', { err: slow }, 'poll failed'],
    ['info', { failures: 3 }, 'poll recovered'],
    ['warn', { err: gone }, 'poll failed']
  ])
  t.equal(recovered, 1)
})

t.test('a poll that throws before its first await counts as failed', async t => {
  const thrown = 'a text'
  const { poller, lines } = scripted({
    poll: () => {
      throw thrown
    }
  })
  await poller.kick()
  t.strictSame(lines, [['warn', { err: thrown }, 'poll failed']])
})

t.test('failed polls back off up to a bound, and a success ends the back-off', async t => {
  const waits: number[] = []
  const { poller, timers, started, end } = scripted({ backOff: { minMs: 100, maxMs: 300 } })
  poller.start()
  const failed = new Error('failed')
  for (const outcome of [failed, failed, failed, failed, undefined, failed]) {
    await end(outcome)
    const before = await started()
    let waitMs = 0
    while ((await started()) === before) {
      timers.advance(100)
      waitMs += 100
    }
    waits.push(waitMs)
  }
  t.strictSame(waits, [100, 200, 300, 300, 1_000, 100])
})

t.test('without a back-off a failed poll is tried again after the interval', async t => {
  const { poller, timers, started, end } = scripted()
  poller.start()
  for (let failures = 1; failures <= 3; failures++) {
    await end(new Error('failed'))
    timers.advance(999)
    t.equal(await started(), failures)
    timers.advance(1)
    t.equal(await started(), failures + 1)
  }
})

t.test('jitter shortens every wait by at most its share', async t => {
  const { poller, timers, started, end } = scripted({ jitter: 0.5, random: () => 0.5 })
  poller.start()
  let polls = 1
  for (const [outcome, waitMs] of [
    [undefined, 750],
    [400, 300],
    [new Error('failed'), 750]
  ] as const) {
    await end(outcome)
    timers.advance(waitMs - 1)
    t.equal(await started(), polls)
    timers.advance(1)
    t.equal(await started(), ++polls)
  }
})

t.test('a waiting poller does not keep the process alive, unless its timers do', async t => {
  const held = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const heldBy = async (timers: Timers | undefined) => {
    const poller = new Poller({
      poll: async () => {},
      intervalMs: 1_000,
      log: recordingLog([]),
      failedMessage: 'poll failed',
      recoveredMessage: 'poll recovered',
      ...(timers && { timers })
    })
    const before = held()
    poller.start(60_000)
    const after = held()
    await poller.stop()
    return after - before
  }
  t.equal(await heldBy(undefined), 0)
  t.equal(await heldBy(systemTimers), 1)
})
