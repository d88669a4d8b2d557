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
import schedulerRoutes from './scheduler.ts'
import telegramRoutes from './telegram.ts'

/** All paths below /api/system/ except the public health: only for admins, unknown paths too. */
export default async function systemRoutes(app: FastifyInstance) {
  app.register(adminOnly, { prefix: '/api/system' })
}

async function adminOnly(admin: FastifyInstance) {
  admin.addHook('onRequest', requireAdmin)
  admin.addHook('onRequest', admin.refuseForeign)
  admin.addHook('preHandler', admin.auditRequested)
  admin.addHook('onSend', admin.auditFinished)
  // In this scope, so that an unknown path requires a sign-in too.
  admin.setNotFoundHandler(admin.answerNotFound)

  admin.register(auditRoutes)
  admin.register(detailsRoutes)
  admin.register(healthHistoryRoutes)
  admin.register(schedulerRoutes)
  admin.register(jobRoutes)
  admin.register(cacheRoutes)
  admin.register(exchangeRoutes)
  admin.register(telegramRoutes)
}

async function requireAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  // The public probe is registered outside of this scope. A request with another method comes here and is answered 405,
  // one with a trailing slash 404, as on the probe port.
  if (request.is404 && isProbePath((requestPath(request.url) ?? '').replace(/\/$/, ''))) return
  await request.server.requireAdmin(request, reply)
}
