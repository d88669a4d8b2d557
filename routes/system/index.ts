// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import { isProbePath } from '../../src/health/probes.ts'
import auditRoutes from './audit.ts'
import cacheRoutes from './cache.ts'
import detailsRoutes from './details.ts'
import exchangeRoutes from './exchanges.ts'
import jobRoutes from './jobs.ts'
import schedulerRoutes from './scheduler.ts'
import telegramRoutes from './telegram.ts'

/** Everything under /api/system/ but its public health: for admins only, known paths and unknown ones alike. */
export default async function systemRoutes(app: FastifyInstance) {
  app.register(adminOnly, { prefix: '/api/system' })
}

async function adminOnly(admin: FastifyInstance) {
  admin.addHook('onRequest', async (request, reply) => {
    // The public probe stands outside of this scope; a method that it does not take comes here to be told so.
    if (request.is404 && isProbePath(request.url.split('?', 1)[0] ?? '')) return
    await admin.requireAdmin(request, reply)
  })
  admin.addHook('onRequest', admin.refuseForeign)
  admin.addHook('preHandler', admin.auditRequested)
  admin.addHook('onSend', admin.auditFinished)
  // In this scope, so that an unknown path asks for a sign-in first, too.
  admin.setNotFoundHandler(admin.answerNotFound)

  admin.register(auditRoutes)
  admin.register(detailsRoutes)
  admin.register(schedulerRoutes)
  admin.register(jobRoutes)
  admin.register(cacheRoutes)
  admin.register(exchangeRoutes)
  admin.register(telegramRoutes)
}
