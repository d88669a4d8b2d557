// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { addProbe } from '../probe.ts'
import { closed, Timestamp } from '../schemas.ts'

const minimal = (status: 'healthy' | 'unhealthy') =>
  Type.Object(
    { status: Type.Literal(status), timestamp: Timestamp },
    { ...closed, examples: [{ status, timestamp: '2026-11-23T12:00:00.000Z' }] }
  )

/** The public health of the system: only healthy or unhealthy. */
const routes: FastifyPluginAsyncTypebox = async app => {
  addProbe(app, '/api/system/health', 'Minimal health, for the public', {
    200: minimal('healthy'),
    503: minimal('unhealthy')
  })
}

export default routes
