import type { FastifyInstance } from 'fastify'
import { createToken, type NewToken } from '../../src/auth/token-table.ts'

/** Creates a token in the database of a service: for 30 days and every client, unless a test gives more. */
export async function tokenOf(app: FastifyInstance, token: Pick<NewToken, 'name' | 'role'> & Partial<NewToken>) {
  const whole = { username: undefined, networks: undefined, days: 30, ...token }
  const created = await createToken(app.db, whole, async () => undefined)
  if (typeof created === 'string') throw new Error(created)
  return created.token
}
