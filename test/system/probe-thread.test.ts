// The probe thread: no answer mixes two states.
import t from 'tap'
import { startApp, untilStatus } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'

const TRANSITIONS = 1_000

t.test('during a thousand transitions no answer of either port mixes two states', async t => {
  const { url: databaseUrl } = await createTestDatabase(t)
  const { app, url, probeUrl } = await startApp(t, { DATABASE_URL: databaseUrl, CHECK_TIMEOUT_MS: '400' })
  await untilStatus(`${url}/health/ready`, 200)
  let done = false
  const seen = new Set<string>()
  let answers = 0

  const repeat = async (base: string, path: string) => {
    while (!done) {
      const response = await fetch(base + path)
      const { timestamp, ...body } = (await response.json()) as Record<string, unknown>
      if (typeof timestamp !== 'string') seen.add(`${path} without a timestamp`)
      answers++
      seen.add(`${path} ${response.status} ${JSON.stringify(body)}`)
    }
  }
  const clients = [url, probeUrl].flatMap(base =>
    ['/health', '/health/ready', '/health/live'].map(path => repeat(base, path))
  )
  for (let i = 0; i < TRANSITIONS; i++) {
    app.health.state.setPressure(i % 2 === 0)
    await new Promise(resolve => setImmediate(resolve))
    if (i % 10 === 0) await new Promise(resolve => setTimeout(resolve, 5))
  }
  app.health.state.setDraining()
  await new Promise(resolve => setTimeout(resolve, 200))
  done = true
  await Promise.all(clients)

  t.ok(answers > 500, `answers: ${answers}`)
  const checks = '"checks":{"database":"ok"}'
  const whole = new Set([
    '/health 200 {"status":"healthy","database":"healthy","service":"trading-system"}',
    '/health/live 200 {"status":"alive"}',
    `/health/ready 200 {"status":"ready",${checks}}`,
    `/health/ready 503 {"status":"not_ready","error":"overloaded",${checks}}`,
    `/health/ready 503 {"status":"not_ready","error":"draining",${checks}}`
  ])
  t.strictSame(
    [...seen].filter(answer => !whole.has(answer)),
    []
  )
  t.ok(
    seen.has(`/health/ready 503 {"status":"not_ready","error":"overloaded",${checks}}`),
    'answers during transitions were received'
  )
})
