// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { ErrorAnswer } from '../error-answer.ts'
import { Timestamp } from '../timestamp.ts'

const Check = Type.Object({
  name: Type.String(),
  status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('failed')]),
  code: Type.Union([Type.String(), Type.Null()]),
  latency_ms: Type.Union([Type.Number(), Type.Null()]),
  age_ms: Type.Union([Type.Number(), Type.Null()]),
  since: Type.Union([Timestamp, Type.Null()])
})

const Exchange = Type.Object({
  exchange: Type.String(),
  last_success_at: Type.Union([Timestamp, Type.Null()]),
  last_error_at: Type.Union([Timestamp, Type.Null()]),
  last_error_code: Type.Union([Type.String(), Type.Null()]),
  clock_skew_ms: Type.Union([Type.Integer(), Type.Null()]),
  circuit: Type.Union([Type.Literal('closed'), Type.Literal('open'), Type.Literal('half_open')]),
  blocked_for_ms: Type.Integer()
})

const Details = Type.Object({
  success: Type.Literal(true),
  timestamp: Timestamp,
  instance: Type.String(),
  version: Type.String(),
  draining: Type.Boolean(),
  checks: Type.Array(Check),
  event_loop: Type.Object({ delay_ms: Type.Number(), utilization: Type.Number(), pressure: Type.Boolean() }),
  probe_thread: Type.Object({ restarts: Type.Integer() }),
  overdue_jobs: Type.Array(Type.String()),
  exchanges: Type.Array(Exchange),
  replicas: Type.Array(
    Type.Object({
      instance: Type.String(),
      version: Type.String(),
      started_at: Timestamp,
      last_seen_at: Timestamp,
      draining: Type.Boolean()
    })
  )
})

/** Everything that is known about the health of this replica and its like. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get(
    '/health/details',
    {
      schema: {
        tags: ['health-monitoring'],
        summary: 'Every check with its status, code, latency and age; replicas; event loop',
        response: { 200: Details, 401: ErrorAnswer, 403: ErrorAnswer, 503: ErrorAnswer }
      }
    },
    async () => {
      const checks = await app.health.checks()
      const snapshot = app.health.state.snapshot()
      const now = Date.now()
      const { eventLoopDelay, eventLoopUtilized } = app.memoryUsage()
      const scheduler = app.scheduler.health()
      const exchanges = app.exchanges.status()
      const replicas = await app.replicas.alive()
      return {
        success: true as const,
        timestamp: new Date(now).toISOString(),
        instance: app.replicas.instanceId,
        version: app.replicas.version,
        draining: snapshot.draining,
        checks,
        // JSON has no infinity: a loop that was not measured at all stands for one that never ran.
        event_loop: {
          delay_ms: Number.isFinite(eventLoopDelay) ? eventLoopDelay : -1,
          utilization: eventLoopUtilized,
          pressure: snapshot.pressure
        },
        probe_thread: { restarts: app.health.probeThreadRestarts() },
        overdue_jobs: scheduler.overdue,
        exchanges: exchanges.map(({ exchange, lastSuccessAt, lastErrorAt, ...status }) => ({
          exchange,
          last_success_at: timeOf(lastSuccessAt),
          last_error_at: timeOf(lastErrorAt),
          last_error_code: status.lastErrorCode,
          clock_skew_ms: status.clockSkewMs,
          circuit: status.circuit,
          blocked_for_ms: status.blockedForMs
        })),
        replicas: replicas.map(({ instance_id, started_at, last_seen_at, ...replica }) => ({
          ...replica,
          instance: instance_id,
          started_at: started_at.toISOString(),
          last_seen_at: last_seen_at.toISOString()
        }))
      }
    }
  )
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

export default routes
