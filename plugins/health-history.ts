// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { HistoryRecorder } from '../src/health/history-recorder.ts'
import { HistoryStore, READINESS } from '../src/health/history-store.ts'
import { notReady } from '../src/health/verdict.ts'

declare module 'fastify' {
  interface FastifyInstance {
    healthHistory: {
      store: HistoryStore
      /** A day of the history is a day of this time zone. */
      timeZone: string
    }
  }
}

/** Owns the history of the health checks: it samples those of this replica. */
async function healthHistory(app: FastifyInstance, { config }: { config: Config }) {
  const { db, health, log, replicas } = app
  const store = new HistoryStore(db)
  app.decorate('healthHistory', { store, timeZone: config.TIME_ZONE })
  const recorder = new HistoryRecorder({
    store,
    log,
    instance: () => replicas.instanceId,
    checks: async () => {
      const checks = await health.checks()
      const readiness = { name: READINESS, code: notReady(health.state.snapshot()) ?? null }
      return [readiness, ...checks.map(({ name, status, code }) => ({ name, code: status === 'ok' ? null : code }))]
    }
  })
  app.addHook('onListen', () => recorder.startSampling())
  app.startUpSteps.health_history = async () => {
    recorder.startWriting()
    return undefined
  }
  app.addHook('preClose', () => recorder.stop())
}

export default fp(healthHistory, { name: 'health-history', fastify: '5.x', dependencies: ['db', 'health', 'replicas'] })
