// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable, Timestamp } from '../schemas.ts'

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 500
/** Postgres rejects a text with the character 0. */
const PRINTABLE = '^[^\\u0000-\\u001f]*$'

const Entry = Type.Object({
  audit_id: Type.String(),
  at: Timestamp,
  actor: nullable(Type.String()),
  address: nullable(Type.String()),
  action: Type.String(),
  target: nullable(Type.String()),
  outcome: Type.Union([
    Type.Literal('requested'),
    Type.Literal('succeeded'),
    Type.Literal('refused'),
    Type.Literal('failed')
  ]),
  request_id: nullable(Type.String()),
  details: Type.Record(Type.String(), Type.Unknown())
})

const entryExample = {
  audit_id: '4211',
  at: '2026-11-23T12:00:00.000Z',
  actor: 'ops',
  address: '192.0.2.10',
  action: 'POST /api/system/jobs/:job_id/pause',
  target: 'housekeeping',
  outcome: 'succeeded',
  request_id: 'k3J9xQ2a-1f',
  details: {}
}

const listSchema = {
  tags: ['health-monitoring'],
  summary: 'Actions of admins and attempts to sign in, newest first',
  querystring: Type.Object(
    {
      actor: Type.Optional(Type.String({ minLength: 1, maxLength: 64, pattern: PRINTABLE, examples: ['ops'] })),
      action: Type.Optional(Type.String({ minLength: 1, maxLength: 128, pattern: PRINTABLE, examples: ['sign_in'] })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, examples: [100] })),
      before: Type.Optional(
        Type.String({ pattern: '^[0-9]{1,18}$', description: '`next_before` of the previous page', examples: ['4161'] })
      )
    },
    closed
  ),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), entries: Type.Array(Entry), next_before: nullable(Type.String()) },
      { examples: [{ success: true, entries: [entryExample], next_before: null }] }
    ),
    ...errors(400, 401, 403)
  }
}

/** The audit log. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/audit-log', { schema: listSchema }, list)
}

const list: Handler<typeof listSchema> = async ({ server, query }, reply) => {
  const { limit = DEFAULT_LIMIT, ...filter } = query
  await server.auth.refusals.flush()
  const rows = await server.auth.audit.list({ ...filter, limit })
  const entries = rows.map(row => ({ ...row, at: row.at.toISOString() }))
  const next_before = rows.length < limit ? null : (rows.at(-1)?.audit_id ?? null)
  return reply.code(200).send({ success: true, entries, next_before })
}

export default routes
