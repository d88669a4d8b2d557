// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { ErrorAnswer } from '../error-answer.ts'
import { Timestamp } from '../timestamp.ts'

const PAGE = 50
const MAX_PAGE = 500
/** Postgres refuses a text with the character 0. */
const PRINTABLE = '^[^\\u0000-\\u001f]*$'

const Entry = Type.Object({
  audit_id: Type.String(),
  at: Timestamp,
  actor: Type.Union([Type.String(), Type.Null()]),
  address: Type.Union([Type.String(), Type.Null()]),
  action: Type.String(),
  target: Type.Union([Type.String(), Type.Null()]),
  outcome: Type.Union(['requested', 'succeeded', 'refused', 'failed'].map(outcome => Type.Literal(outcome))),
  request_id: Type.Union([Type.String(), Type.Null()]),
  details: Type.Record(Type.String(), Type.Unknown())
})

/** Who did what. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get(
    '/audit-log',
    {
      schema: {
        tags: ['health-monitoring'],
        summary: 'Who did what, newest first',
        querystring: Type.Object(
          {
            actor: Type.Optional(Type.String({ minLength: 1, maxLength: 64, pattern: PRINTABLE })),
            action: Type.Optional(Type.String({ minLength: 1, maxLength: 128, pattern: PRINTABLE })),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: PAGE })),
            before: Type.Optional(
              Type.String({ pattern: '^[0-9]{1,18}$', description: 'next_before of the page before' })
            )
          },
          { additionalProperties: false }
        ),
        response: {
          200: Type.Object({
            success: Type.Literal(true),
            entries: Type.Array(Entry),
            next_before: Type.Union([Type.String(), Type.Null()])
          }),
          400: ErrorAnswer,
          401: ErrorAnswer,
          403: ErrorAnswer
        }
      }
    },
    async ({ query: { limit = PAGE, ...filter } }) => {
      const rows = await app.auth.audit.list({ ...filter, limit })
      const entries = rows.map(row => ({ ...row, at: row.at.toISOString() }))
      return {
        success: true as const,
        entries,
        next_before: rows.length < limit ? null : (rows.at(-1)?.audit_id ?? null)
      }
    }
  )
}

export default routes
