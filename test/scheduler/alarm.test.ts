import t from 'tap'
import { Alarm } from '../../src/scheduler/alarm.ts'

t.test('it rings once, also for a moment that is over, and only for what it was set to last', async t => {
  for (const ms of [-60_000, 0, 1, 20]) {
    let rung = 0
    await new Promise<void>(resolve => {
      const alarm = new Alarm(() => {
        rung++
        // Time for another ring that must not come.
        setTimeout(resolve, 20)
      })
      const alive = setInterval(() => undefined, 1_000)
      t.teardown(() => clearInterval(alive))
      alarm.set(60_000)
      alarm.set(ms)
    })
    t.equal(rung, 1, `${ms} ms`)
  }
})

t.test('one that is cleared does not ring', async t => {
  let rung = 0
  const cleared = new Alarm(() => rung++)
  cleared.set(5)
  cleared.clear()
  await new Promise<void>(resolve => {
    const later = new Alarm(resolve)
    later.set(20)
    t.teardown(() => later.clear())
    // The alarm keeps no process alive, so the test does.
    const alive = setInterval(() => undefined, 1_000)
    t.teardown(() => clearInterval(alive))
  })
  t.equal(rung, 0)
})
