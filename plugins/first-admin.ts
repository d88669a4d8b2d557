import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

interface FirstAdminOptions {
  /** Prints to the terminal. The text has a password: it must not be logged. */
  announce: (text: string) => void
}

/** Creates the user `admin` when there is no user, and prints its one-time password, which must be changed at sign-in. */
async function firstAdmin(app: FastifyInstance, { announce }: FirstAdminOptions) {
  app.startUpSteps.first_admin = async () => {
    if (await app.auth.users.exist()) return { created: false }
    const password = randomBytes(15).toString('base64url')
    const created = await app.auth.users.createFirst('admin', await app.auth.passwords.hash(password))
    if (created) announce(`first admin: user name admin, password ${password} (to be changed at the first sign-in)\n`)
    return { created }
  }
}

export default fp(firstAdmin, { name: 'first-admin', fastify: '5.x', dependencies: ['admin-auth', 'health'] })
