// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { Handler } from '../handler.ts'
import { errors, nullable, Timestamp } from '../schemas.ts'

const Check = Type.Object({
  name: Type.String(),
  status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('failed')]),
  code: nullable(Type.String()),
  latency_ms: nullable(Type.Number()),
  age_ms: nullable(Type.Number()),
  since: nullable(Timestamp)
})

const EventLoop = Type.Object({
  delay_ms: nullable(Type.Number({ description: 'null while there is no sample' })),
  utilization: Type.Number(),
  pressure: Type.Boolean()
})

const Exchange = Type.Object({
  exchange: Type.String(),
  last_success_at: nullable(Timestamp),
  last_error_at: nullable(Timestamp),
  last_error_code: nullable(Type.String()),
  clock_skew_ms: nullable(Type.Integer()),
  circuit: Type.Union([Type.Literal('closed'), Type.Literal('open'), Type.Literal('half_open')]),
  blocked_for_ms: Type.Integer(),
  invalid_rows: Type.Integer({
    description:
      'rows in the latest readings of this replica that cannot be read, or whose amounts contradict each other; an unreadable answer counts as one'
  })
})

const Replica = Type.Object({
  instance: Type.String(),
  version: Type.String(),
  started_at: Timestamp,
  last_seen_at: Timestamp,
  draining: Type.Boolean(),
  runs_jobs: Type.Boolean({ description: 'whether it may run scheduled jobs' })
})

const Ages = Type.Object(
  {
    replicas: nullable(Type.Integer({ description: 'null: never read' })),
    overdue_jobs: nullable(Type.Integer({ description: 'of the last poll of the scheduler; null before the first' }))
  },
  { description: 'age of the values that come from the database; the checks have their own, all others are current' }
)

const detailsExample = {
  success: true,
  timestamp: '2026-11-23T12:00:00.000Z',
  instance: 'trading-health-7f9c-a1b2c3d4',
  version: '0.1.0',
  draining: false,
  checks: [
    { name: 'database', status: 'ok', code: null, latency_ms: 0.6, age_ms: 42, since: '2026-11-23T09:00:00.000Z' },
    { name: 'main_loop', status: 'ok', code: null, latency_ms: 1.4, age_ms: 87, since: '2026-11-23T09:00:00.000Z' },
    {
      name: 'scheduler',
      status: 'degraded',
      code: 'overdue',
      latency_ms: 3,
      age_ms: 310,
      since: '2026-11-23T11:58:04.000Z'
    },
    {
      name: 'exchange_binance',
      status: 'ok',
      code: null,
      latency_ms: 84,
      age_ms: 2140,
      since: '2026-11-23T09:00:07.000Z'
    }
  ],
  event_loop: { delay_ms: 1.4, utilization: 0.03, pressure: false },
  probe_thread: { restarts: 0 },
  overdue_jobs: ['send_daily_summary'],
  exchanges: [
    {
      exchange: 'BINANCE',
      last_success_at: '2026-11-23T11:59:57.860Z',
      last_error_at: null,
      last_error_code: null,
      clock_skew_ms: -12,
      circuit: 'closed',
      blocked_for_ms: 0,
      invalid_rows: 0
    }
  ],
  replicas: [
    {
      instance: 'trading-health-7f9c-a1b2c3d4',
      version: '0.1.0',
      started_at: '2026-11-23T09:00:00.000Z',
      last_seen_at: '2026-11-23T11:59:59.100Z',
      draining: false,
      runs_jobs: true
    }
  ],
  ages_ms: { replicas: 0, overdue_jobs: 310 }
}

const detailsSchema = {
  tags: ['health-monitoring'],
  summary: 'Every check with its status, code, latency, age and since when; replicas; event loop',
  description:
    'Answers without the database, too, with what this replica knows: for a session that it read in the last five minutes.',
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        timestamp: Timestamp,
        instance: Type.String(),
        version: Type.String(),
        draining: Type.Boolean(),
        checks: Type.Array(Check),
        event_loop: EventLoop,
        probe_thread: Type.Object({ restarts: Type.Integer() }),
        overdue_jobs: Type.Array(Type.String()),
        exchanges: Type.Array(Exchange),
        replicas: Type.Array(Replica),
        ages_ms: Ages
      },
      { examples: [detailsExample] }
    ),
    ...errors(401, 403, 503)
  }
}

/** The health of this replica in detail, and the other replicas of the cluster. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/health/details', { schema: detailsSchema, config: { answersWithoutDatabase: true } }, details)
}

const details: Handler<typeof detailsSchema> = async ({ server }, reply) => {
  const checks = await server.health.checks()
  const isUsable = checks.some(({ name, status }) => name === 'database' && status === 'ok')
  const { replicas, ageMs } = await server.replicas.known(isUsable)
  const ages_ms = { replicas: ageMs, overdue_jobs: server.scheduler.health().heartbeatAgeMs }
  return reply.code(200).send({ ...stateOf(server), checks, replicas: replicas.map(replicaBody), ages_ms })
}

/** Everything that is known without a call. */
function stateOf(app: FastifyInstance) {
  const { draining, pressure } = app.health.state.snapshot()
  const { instanceId: instance, version } = app.replicas
  return {
    success: true as const,
    timestamp: new Date().toISOString(),
    instance,
    version,
    draining,
    event_loop: { ...eventLoopBody(app.memoryUsage()), pressure },
    probe_thread: { restarts: app.health.probeThreadRestarts() },
    overdue_jobs: app.scheduler.health().overdue,
    exchanges: app.exchanges.status().map(exchangeBody)
  }
}

function eventLoopBody({ eventLoopDelay, eventLoopUtilized }: ReturnType<FastifyInstance['memoryUsage']>) {
  // JSON has no infinity, which is the delay of a loop without a sample.
  return { delay_ms: Number.isFinite(eventLoopDelay) ? eventLoopDelay : null, utilization: eventLoopUtilized }
}

function exchangeBody(status: ReturnType<FastifyInstance['exchanges']['status']>[number]): Static<typeof Exchange> {
  return {
    exchange: status.exchange,
    last_success_at: timeOf(status.lastSuccessAt),
    last_error_at: timeOf(status.lastErrorAt),
    last_error_code: status.lastErrorCode,
    clock_skew_ms: status.clockSkewMs,
    circuit: status.circuit,
    blocked_for_ms: status.blockedForMs,
    invalid_rows: status.invalidRows
  }
}

function replicaBody(
  replica: Awaited<ReturnType<FastifyInstance['replicas']['alive']>>[number]
): Static<typeof Replica> {
  return {
    instance: replica.instance_id,
    version: replica.version,
    started_at: replica.started_at.toISOString(),
    last_seen_at: replica.last_seen_at.toISOString(),
    draining: replica.draining,
    runs_jobs: replica.runs_jobs
  }
}

function timeOf(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString()
}

export default routes
