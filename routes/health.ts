// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { probe } from './probe.ts'
import { Timestamp } from './timestamp.ts'

const DatabaseFailure = Type.Union([
  Type.Literal('database_unreachable'),
  Type.Literal('database_timeout'),
  Type.Literal('database_refused')
])

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
  Type.Object({
    status: Type.Literal(status),
    timestamp: Timestamp,
    database: Type.Literal(status),
    service: Type.String()
  })

/** The probes of orchestrators and load balancers. */
const routes: FastifyPluginAsyncTypebox = async app => {
  probe(app, '/health', 'Health of the database', { 200: health('healthy'), 503: health('unhealthy') })

  probe(app, '/health/ready', 'Whether this replica can serve', {
    200: Type.Object({ status: Type.Literal('ready'), timestamp: Timestamp, checks: Checks }),
    503: Type.Object({ status: Type.Literal('not_ready'), timestamp: Timestamp, error: NotReadyCode, checks: Checks })
  })

  probe(app, '/health/live', 'Whether this process lives', {
    200: Type.Object({ status: Type.Literal('alive'), timestamp: Timestamp }),
    503: Type.Object({ status: Type.Literal('stalled'), timestamp: Timestamp })
  })

  probe(app, '/health/startup', 'Whether this replica has started', {
    200: Type.Object({ status: Type.Literal('started'), timestamp: Timestamp }),
    503: Type.Object({ status: Type.Literal('starting'), timestamp: Timestamp, error: NotReadyCode })
  })
}

export default routes
