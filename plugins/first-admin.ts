import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

export interface FirstAdminOptions {
  /** Prints the text to the terminal. It holds a password and must not reach the log. */
  announce: (text: string) => void
}

/** Creates the user `admin` where there is no user, and prints its one-time password. Only for the embedded database. */
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
