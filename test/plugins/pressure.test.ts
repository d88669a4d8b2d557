import t from 'tap'
import { startApp } from '../support/app.ts'

const never = new Int32Array(new SharedArrayBuffer(4))

/** Blocks the event loop, without work for the processor. */
function block(ms: number): void {
  Atomics.wait(never, 0, 0, ms)
}

t.test('under event-loop pressure the API sheds load and only readiness fails, until the pressure ends', async t => {
  const { app, url } = await startApp(
    t,
    { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', MAX_EVENT_LOOP_DELAY_MS: '200', PROBE_PORT: 'off' },
    {
      api: async app => {
        app.get('/test', async () => ({ success: true }))
      }
    }
  )
  t.equal((await fetch(`${url}/test`)).status, 200)

  // Far above the limit, and the limit is far above the delay of a busy machine: the pressure is detected, and its
  // end too.
  const blocking = setInterval(() => block(600), 10)
  let shed: Response
  do shed = await fetch(`${url}/test`)
  while (shed.status === 200)
  t.equal(shed.status, 503)
  t.equal(shed.headers.get('retry-after'), '5')
  t.hasStrict(await shed.json(), { success: false, code: 'OVERLOADED' })
  while (!app.health.state.snapshot().pressure) await new Promise(resolve => setTimeout(resolve, 10))
  t.equal((await fetch(`${url}/health/live`)).status, 200)
  clearInterval(blocking)

  while ((await fetch(`${url}/test`)).status !== 200) await new Promise(resolve => setTimeout(resolve, 10))
  while (app.health.state.snapshot().pressure) await new Promise(resolve => setTimeout(resolve, 10))
  t.pass('the service recovers')
})
