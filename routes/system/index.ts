// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyInstance } from 'fastify'
import auditRoutes from './audit.ts'
import detailsRoutes from './details.ts'
import jobRoutes from './jobs.ts'
import schedulerRoutes from './scheduler.ts'

/** Everything under /api/system/ but its public health: for admins only, known paths and unknown ones alike. */
export default async function systemRoutes(app: FastifyInstance) {
  app.register(adminOnly, { prefix: '/api/system' })
}

async function adminOnly(admin: FastifyInstance) {
  admin.addHook('onRequest', admin.requireAdmin)
  admin.addHook('onRequest', admin.refuseForeign)
  admin.addHook('preHandler', admin.auditRequested)
  admin.addHook('onResponse', admin.auditFinished)
  // In this scope, so that an unknown path asks for a sign-in first, too.
  admin.setNotFoundHandler(admin.answerNotFound)

  admin.register(auditRoutes)
  admin.register(detailsRoutes)
  admin.register(schedulerRoutes)
  admin.register(jobRoutes)
}
