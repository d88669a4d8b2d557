import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ensureFirstAdmin, removeFirstPassword } from '../src/auth/first-admin.ts'

interface FirstAdminOptions {
  config: { DATA_DIR: string }
  /** Prints to the terminal; absent without one. The text has a password: it must not be logged. */
  print: ((text: string) => void) | undefined
}

/**
 * Creates the user `admin` when there is no user. Its one-time password is printed to the terminal, or else kept in a file
 * until it is changed.
 */
async function firstAdmin(app: FastifyInstance, { config: { DATA_DIR: dataDir }, print }: FirstAdminOptions) {
  const { users, passwords } = app.auth
  app.startUpSteps.first_admin = async () => {
    const { created, file } = await ensureFirstAdmin({ users, passwords, dataDir, print })
    if (file !== undefined) app.log.warn({ path: file }, 'password of the first admin in a file, to be changed')
    return { created }
  }
  users.onPasswordSet(async username => {
    try {
      await removeFirstPassword(dataDir, username)
    } catch (err) {
      app.log.warn({ err }, 'password of the first admin not removed')
    }
  })
}

export default fp(firstAdmin, { name: 'first-admin', fastify: '5.x', dependencies: ['admin-auth', 'health'] })
