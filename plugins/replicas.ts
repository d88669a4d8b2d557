// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { clusterSettings } from '../src/replicas/cluster-settings.ts'
import { Replicas } from '../src/replicas/replicas.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicas: Replicas
  }
}

/** Owns the registration of this replica in the database. */
async function replicas(app: FastifyInstance, { config, version }: { config: Config; version: string }) {
  const registration = new Replicas({
    database: app.db,
    log: app.log,
    instanceId: config.INSTANCE_ID,
    version,
    settings: clusterSettings(config),
    schedulerEnabled: config.SCHEDULER_ENABLED,
    isDraining: () => app.health.state.snapshot().draining
  })
  app.decorate('replicas', registration)
  app.healthChecks.push(() => registration.settingsDetails())
  app.startUpSteps.replica = async () => {
    // The scheduler runs nothing before the name is free and the settings were compared.
    await registration.register()
    return { version, name: registration.instanceId }
  }
  app.addHook('onClose', () => registration.stop())
}

export default fp(replicas, { name: 'replicas', fastify: '5.x', dependencies: ['db', 'health'] })
