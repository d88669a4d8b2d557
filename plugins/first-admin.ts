import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

export interface FirstAdminOptions {
  /** Tells the terminal, and nothing else: what it is given holds a password. */
  announce: (text: string) => void
}

/** On the embedded default, where there is no user yet: makes `admin`, who must change the password that is told once. */
async function firstAdmin(app: FastifyInstance, { announce }: FirstAdminOptions) {
  app.startUpSteps.push(async () => {
    if (await app.auth.users.exist()) return
    const password = randomBytes(15).toString('base64url')
    const created = await app.auth.users.createFirst('admin', await app.auth.passwords.hash(password))
    if (created) announce(`first admin: user name admin, password ${password} (to be changed at the first sign-in)\n`)
  })
}

export default fp(firstAdmin, { name: 'first-admin', fastify: '5.x', dependencies: ['admin-auth', 'health'] })
