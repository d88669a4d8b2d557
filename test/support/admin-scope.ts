import type { FastifyInstance } from 'fastify'
import jobRoutes from '../../routes/system/jobs.ts'
import schedulerRoutes from '../../routes/system/scheduler.ts'

/** The scheduler's routes in a scope that lets everybody in as `ada`. */
export async function adminScope(api: FastifyInstance): Promise<void> {
  api.decorateRequest('admin', { getter: () => ({ username: 'ada' }) })
  api.register(schedulerRoutes)
  api.register(jobRoutes)
}
