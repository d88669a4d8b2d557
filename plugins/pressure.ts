// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { ServiceError } from '../src/errors.ts'

if (!('patch' in underPressure) || underPressure.patch !== 'trading-health.1') {
  throw new Error(
    'the installed package @fastify/under-pressure is not patched: run `node scripts/patch-dependencies.js`'
  )
}

interface PressureOptions {
  config: Config
}

/** How often the event-loop delay is measured and published, in milliseconds. */
const SAMPLE_MS = 500
const RETRY_AFTER_SECONDS = 5

/**
 * Sheds the load of its scope with 503 while the event loop is late, and writes that state to the shared state, from
 * which readiness is answered. The probes are outside of this scope.
 */
async function pressure(api: FastifyInstance, { config }: PressureOptions) {
  await api.register(underPressure, {
    maxEventLoopDelay: config.MAX_EVENT_LOOP_DELAY_MS,
    sampleInterval: SAMPLE_MS,
    pressureHandler: () => {
      throw new ServiceError('OVERLOADED', { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } })
    }
  })

  api.metrics.collect(reading => {
    const { eventLoopDelay, eventLoopUtilized } = api.memoryUsage()
    reading.set('trading_health_event_loop_delay_seconds', {}, eventLoopDelay / 1_000)
    reading.set('trading_health_event_loop_utilization_ratio', {}, eventLoopUtilized)
    reading.set('trading_health_overloaded', {}, Number(api.health.state.snapshot().pressure))
  })

  const publish = setInterval(() => {
    api.health.state.setPressure(api.isUnderPressure())
    const { eventLoopDelay } = api.memoryUsage()
    // Without a sample it is infinite.
    api.health.loopDelayMs = Number.isFinite(eventLoopDelay) ? Math.round(eventLoopDelay * 10) / 10 : null
  }, SAMPLE_MS).unref()
  api.addHook('onClose', async () => clearInterval(publish))
}

export default fp(pressure, { name: 'pressure', fastify: '5.x', dependencies: ['health', 'metrics'] })
