// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { DATABASE_FAILURES } from '../src/database/failure.ts'
import { addProbe } from './probe.ts'
import { Timestamp } from './schemas.ts'

const timestamp = '2026-11-23T12:00:00.000Z'

const DatabaseFailure = Type.Union(DATABASE_FAILURES.map(code => Type.Literal(code)))

const NotReadyCode = Type.Union([
  Type.Literal('draining'),
  Type.Literal('starting'),
  Type.Literal('migrations_pending'),
  DatabaseFailure,
  Type.Literal('overloaded')
])

const Checks = Type.Object({
  database: Type.Union([Type.Literal('ok'), Type.Literal('starting'), DatabaseFailure, Type.Literal('overloaded')])
})

const health = (status: 'healthy' | 'unhealthy') =>
  Type.Object(
    { status: Type.Literal(status), timestamp: Timestamp, database: Type.Literal(status), service: Type.String() },
    { examples: [{ status, timestamp, database: status, service: 'trading-system' }] }
  )

const ready = {
  200: Type.Object(
    { status: Type.Literal('ready'), timestamp: Timestamp, checks: Checks },
    { examples: [{ status: 'ready', timestamp, checks: { database: 'ok' } }] }
  ),
  503: Type.Object(
    { status: Type.Literal('not_ready'), timestamp: Timestamp, error: NotReadyCode, checks: Checks },
    {
      examples: [
        { status: 'not_ready', timestamp, error: 'database_timeout', checks: { database: 'database_timeout' } }
      ]
    }
  )
}

const live = {
  200: Type.Object(
    { status: Type.Literal('alive'), timestamp: Timestamp },
    { examples: [{ status: 'alive', timestamp }] }
  ),
  503: Type.Object(
    { status: Type.Literal('stalled'), timestamp: Timestamp },
    { examples: [{ status: 'stalled', timestamp }] }
  )
}

const startup = {
  200: Type.Object(
    { status: Type.Literal('started'), timestamp: Timestamp },
    { examples: [{ status: 'started', timestamp }] }
  ),
  503: Type.Object(
    { status: Type.Literal('starting'), timestamp: Timestamp, error: NotReadyCode },
    { examples: [{ status: 'starting', timestamp, error: 'migrations_pending' }] }
  )
}

/** The probes of orchestrators and load balancers. */
const routes: FastifyPluginAsyncTypebox = async app => {
  addProbe(app, '/health', 'Health of the database', { 200: health('healthy'), 503: health('unhealthy') })
  addProbe(app, '/health/ready', 'Readiness: whether this replica can serve', ready)
  addProbe(app, '/health/live', 'Liveness: whether the main loop of this process runs', live)
  addProbe(app, '/health/startup', 'Start-up: whether this replica has started', startup)
}

export default routes
