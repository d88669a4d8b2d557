// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isProbePath } from '../../src/health/probes.ts'
import { requestPath } from '../../src/request-target.ts'
import auditRoutes from './audit.ts'
import cacheRoutes from './cache.ts'
import detailsRoutes from './details.ts'
import exchangeRoutes from './exchanges.ts'
import healthHistoryRoutes from './health-history.ts'
import jobRoutes from './jobs.ts'
import quietRoutes from './quiet.ts'
import schedulerRoutes from './scheduler.ts'
import telegramRoutes from './telegram.ts'

/**
 * All paths below /api/system/ except the public health, unknown paths too: viewers read, and admins do everything.
 */
export default async function systemRoutes(app: FastifyInstance) {
  app.register(readersAndAdmins, { prefix: '/api/system' })
}

async function readersAndAdmins(system: FastifyInstance) {
  system.addHook('onRequest', requireReader)
  system.addHook('onRequest', system.refuseForeign)
  system.addHook('preHandler', system.auditRequested)
  system.addHook('onSend', system.auditFinished)
  // In this scope, so that an unknown path requires a sign-in too.
  system.setNotFoundHandler(system.answerNotFound)

  system.register(auditRoutes)
  system.register(detailsRoutes)
  system.register(healthHistoryRoutes)
  system.register(schedulerRoutes)
  system.register(jobRoutes)
  system.register(cacheRoutes)
  system.register(exchangeRoutes)
  system.register(quietRoutes)
  system.register(telegramRoutes)
}

async function requireReader(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  // The public probe is registered outside of this scope. A request with another method comes here and is answered 405,
  // one with a trailing slash 404, as on the probe port.
  if (request.is404 && isProbePath((requestPath(request.url) ?? '').replace(/\/$/, ''))) return
  await request.server.requireReader(request, reply)
}
