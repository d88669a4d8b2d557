import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { LevelWithSilent } from 'pino'
import type { Test } from 'tap'
import { buildApp, type Overrides } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log/logger.ts'

/** Signs the cookies of tests. */
export const SESSION_SECRET = 'a secret of the tests and of nothing else'
/** Encrypts the keys of accounts in tests. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'test').toString('base64')
/** The default settings of a service in a test: free ports, and secrets of the tests. */
export const TEST_ENVIRONMENT = { PORT: '0', PROBE_PORT: '0', METRICS_PORT: 'off', SESSION_SECRET, ENCRYPTION_KEY }

/** A logger that stores its lines, parsed and as text. */
export function captureLog(level: LevelWithSilent = 'trace') {
  const lines: Record<string, unknown>[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    }
  })
  return { lines, logger: createLogger({ level }, stream), text: () => JSON.stringify(lines) }
}

/** Longer than a check of the database takes on a busy machine, and longer than the setting allows. */
const PATIENT_CHECK_MS = 30_000

/**
 * The whole service on free ports, listening, closed at teardown. It logs nothing unless a test gives a logger. It
 * shares its event loop and its machine with the test: it sheds load only if a test gives MAX_EVENT_LOOP_DELAY_MS, and
 * a slow check of the database fails only if a test gives CHECK_TIMEOUT_MS. An answer with two cookies of one name
 * fails the test.
 */
export async function startApp(
  t: Test,
  environment: Record<string, string>,
  overrides: Partial<Overrides> = {}
): Promise<{ app: FastifyInstance; url: string; probeUrl: string }> {
  const config = {
    SESSION_SECRET,
    ENCRYPTION_KEY,
    ...loadConfig({ ...TEST_ENVIRONMENT, LOG_LEVEL: 'silent', ...environment }),
    // For under-pressure 0 means no limit. The highest value would be a limit: a window without a sample counts as
    // infinite delay.
    ...(environment.MAX_EVENT_LOOP_DELAY_MS === undefined && { MAX_EVENT_LOOP_DELAY_MS: 0 }),
    ...(environment.CHECK_TIMEOUT_MS === undefined && { CHECK_TIMEOUT_MS: PATIENT_CHECK_MS })
  }
  const app = buildApp(config, { logger: overrides.logger ?? createLogger({ level: 'silent' }), ...overrides })
  // Some clients lose a cookie that one answer both clears and sets.
  app.addHook('onResponse', async ({ method, url }, reply) => {
    const names = [reply.getHeader('set-cookie') ?? []].flat().map(line => String(line).split('=', 1)[0])
    if (new Set(names).size < names.length) t.fail(`${method} ${url}: cookies of one name: ${names.join(', ')}`)
  })
  t.teardown(() => {
    const closed = app.close()
    // An answer with an unread body would hold its connection until garbage collection.
    app.server.closeAllConnections()
    return closed
  })
  const url = await app.listen({ host: config.HOST, port: config.PORT })
  await app.openMetricsPort()
  const probePort = await app.health.startProbeThread()
  return { app, url, probeUrl: probePort === undefined ? url : `http://127.0.0.1:${probePort}` }
}

/** Between two requests: without it they would take the CPU time that the service needs to start. */
const POLL_MS = 10

/** Repeats a request until the answer has the status. The time-out of the test bounds it. */
export async function untilStatus(url: string, status: number): Promise<Response> {
  for (;;) {
    const response = await fetch(url)
    if (response.status === status) return response
    await response.arrayBuffer()
    await sleep(POLL_MS)
  }
}
