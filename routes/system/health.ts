// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { probe } from '../probe.ts'
import { Timestamp } from '../timestamp.ts'

const minimal = (status: 'healthy' | 'unhealthy') =>
  Type.Object({ status: Type.Literal(status), timestamp: Timestamp }, { additionalProperties: false })

/** The minimal public health of the system: nothing but healthy or not. */
const routes: FastifyPluginAsyncTypebox = async app => {
  probe(app, '/api/system/health', 'Minimal health, nothing else', {
    200: minimal('healthy'),
    503: minimal('unhealthy')
  })
}

export default routes
