import t from 'tap'
import { AnswerTimes } from '../../src/database/answer-times.ts'

/**
 * The changes of the verdict over answers with these times. An answer beyond the patience is first recorded as missing.
 */
function changes(times: AnswerTimes, answers: readonly number[]): boolean[] {
  const verdicts = answers.map(timeMs => {
    if (timeMs > times.patienceMs) times.missed()
    return times.answered(timeMs)
  })
  return verdicts.filter((late, i) => late !== (i === 0 ? false : verdicts[i - 1]))
}

/** A repeatable sequence of numbers from 0 to 1. */
function numbers(seed: number, count: number): number[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  })
}

/** Round trips with a random time in each direction. */
const varied = (fromMs: number, untilMs: number, seed: number) =>
  numbers(seed, 400).flatMap((x, i, all) =>
    i % 2 === 0 ? [fromMs + ((x + (all[i + 1] ?? 0)) / 2) * (untilMs - fromMs)] : []
  )

t.test('the first answer decides', async t => {
  t.equal(new AnswerTimes(400).answered(400), false)
  t.equal(new AnswerTimes(400).answered(401), true)
})

t.test('a distant network whose times vary within the limit never changes the verdict', async t => {
  for (const seed of [1, 2, 3, 4, 5]) t.strictSame(changes(new AnswerTimes(400), varied(200, 400, seed)), [], `${seed}`)
})

t.test('times that vary around the limit change the verdict once', async t => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const seen = changes(new AnswerTimes(400), [250, 250, ...varied(320, 500, seed)])
    t.strictSame(seen, [true], `${seed}`)
  }
})

t.test('the verdict becomes late after some late answers, and in time again after some answers in time', async t => {
  const times = new AnswerTimes(400)
  t.strictSame(
    [250, 450, 450, 450, 450].map(timeMs => times.answered(timeMs)),
    [false, false, false, true, true]
  )
  t.strictSame(
    [250, 250, 250].map(timeMs => times.answered(timeMs)),
    [true, false, false]
  )
})

t.test('a missing answer is late after 1.2 times the limit, and further missing ones after the limit', async t => {
  const times = new AnswerTimes(400)
  t.equal(times.patienceMs, 480)
  times.missed()
  t.equal(times.late, true)
  t.equal(times.patienceMs, 400)
})

t.test('after a long wait two quick answers are enough', async t => {
  const times = new AnswerTimes(400)
  times.answered(1)
  times.missed()
  t.strictSame(
    [5_000, 1, 1].map(timeMs => times.answered(timeMs)),
    [true, false, false]
  )
})

t.test('after late answers, twenty steady ones just within the limit are in time', async t => {
  const times = new AnswerTimes(400)
  times.answered(450)
  const verdicts = Array.from({ length: 20 }, () => times.answered(370))
  t.strictSame([verdicts[18], verdicts[19]], [true, false])
})
