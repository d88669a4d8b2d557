// @FEAT:scheduler @COMP:route @TYPE:helper
// What the admin scope gives to each request, as far as these routes use it. The scope itself declares it once it is
// here; this file then goes.
import type { TransactionSql } from '../../src/database/client.ts'

declare module 'fastify' {
  interface FastifyRequest {
    admin: { username: string }
    audit?: { succeeded(tx: TransactionSql, details?: Record<string, unknown>): Promise<unknown> }
  }
}
