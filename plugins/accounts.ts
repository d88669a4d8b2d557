// @FEAT:exchanges @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Accounts } from '../src/accounts/accounts.ts'
import { KeyRing } from '../src/accounts/key-ring.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The accounts at the exchanges. Only a client gets their credentials. */
    accounts: Accounts
  }
}

/** Owns the keys that decrypt the accounts' credentials. */
async function accounts(app: FastifyInstance, { config }: { config: { ENCRYPTION_KEY: string } }) {
  app.decorate(
    'accounts',
    new Accounts({
      database: app.db,
      keyRing: new KeyRing(config.ENCRYPTION_KEY),
      connect: options => app.exchanges.client(options),
      clients: app.caches.clients
    })
  )
}

export default fp(accounts, { name: 'accounts', fastify: '5.x', dependencies: ['db', 'exchanges', 'cache'] })
