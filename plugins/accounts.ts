// @FEAT:exchanges @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Accounts } from '../src/accounts/accounts.ts'
import type { GeneratedKey } from '../src/accounts/encryption-key.ts'
import { KeyRing } from '../src/accounts/key-ring.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The accounts at the exchanges. Only a client gets their credentials. */
    accounts: Accounts
  }
}

interface AccountsOptions {
  config: { ENCRYPTION_KEY: string }
  /** Where `ENCRYPTION_KEY` is not set. */
  keepKey?: GeneratedKey['keep']
}

/** Owns the keys that decrypt the accounts' credentials. */
async function accounts(app: FastifyInstance, { config, keepKey }: AccountsOptions) {
  if (keepKey) {
    app.startUpSteps.encryption_key = async () => {
      const file = await keepKey(app.db)
      return { file }
    }
  }
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

export default fp(accounts, { name: 'accounts', fastify: '5.x', dependencies: ['db', 'health', 'exchanges', 'cache'] })
