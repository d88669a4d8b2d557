// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { Replicas } from '../src/replicas/replicas.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicas: Replicas
  }
}

/** Shows this replica in the database while it runs. */
async function replicas(app: FastifyInstance, { config, version }: { config: Config; version: string }) {
  const shown = new Replicas({
    database: app.db,
    log: app.log,
    instanceId: config.INSTANCE_ID,
    version,
    isDraining: () => app.health.state.snapshot().draining
  })
  app.decorate('replicas', shown)
  app.startUpSteps.push(async () => shown.start())
  app.addHook('onClose', () => shown.stop())
}

export default fp(replicas, { name: 'replicas', fastify: '5.x', dependencies: ['db', 'health'] })
