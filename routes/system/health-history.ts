// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { DAY } from '../../src/async/durations.ts'
import { invalidField } from '../../src/errors.ts'
import { HISTORY_DAYS, type Incident } from '../../src/health/history-store.ts'
import type { Language } from '../../src/messages.ts'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable, Timestamp } from '../schemas.ts'

const DEFAULT_DAYS = 7
const MAX_INCIDENTS = 500

const IncidentSchema = Type.Object(
  {
    check: Type.String(),
    code: Type.String(),
    instance: Type.String(),
    from: Timestamp,
    until: nullable(Timestamp)
  },
  { ...closed, description: 'a time during which a check of a replica was not ok; `until` is null while it lasts' }
)

const DaySchema = Type.Object(
  {
    date: Type.String({ format: 'date' }),
    ready_share: nullable(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description: 'share of the time that has passed in which a replica was ready; null before the history begins'
      })
    )
  },
  { ...closed, description: 'a day of `time_zone`' }
)

const example = {
  success: true,
  from: '2026-11-22T00:00:00.000Z',
  to: '2026-11-23T12:00:00.000Z',
  time_zone: 'Asia/Seoul',
  incidents: [
    {
      check: 'database',
      code: 'database_unreachable',
      instance: 'trading-health-7f9c-a1b2c3d4',
      from: '2026-11-22T17:02:11.204Z',
      until: '2026-11-22T17:02:40.511Z'
    }
  ],
  has_more: false,
  days: [{ date: '2026-11-23', ready_share: 0.999661 }]
}

const historySchema = {
  tags: ['health-monitoring'],
  summary: 'Incidents, and the share of time per day in which the service was ready',
  querystring: Type.Object(
    {
      from: Type.Optional(
        Type.String({
          format: 'date-time',
          description: `default ${DEFAULT_DAYS} days before \`to\`; at most ${HISTORY_DAYS} days before it`,
          examples: ['2026-11-22T00:00:00Z']
        })
      ),
      to: Type.Optional(
        Type.String({ format: 'date-time', description: 'default now', examples: ['2026-11-23T12:00:00Z'] })
      ),
      check: Type.Optional(
        Type.String({ pattern: '^[a-z0-9_]{1,64}$', description: 'incidents of this check', examples: ['database'] })
      )
    },
    closed
  ),
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        from: Timestamp,
        to: Timestamp,
        time_zone: Type.String(),
        incidents: Type.Array(IncidentSchema, { description: `newest first, at most ${MAX_INCIDENTS}` }),
        has_more: Type.Boolean(),
        days: Type.Array(DaySchema)
      },
      { ...closed, examples: [example] }
    ),
    ...errors(400, 401, 403, 503)
  }
}

/** The history of the health checks. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/health/history', { schema: historySchema }, history)
}

const history: Handler<typeof historySchema> = async ({ server, query, language }, reply) => {
  const { store, timeZone } = server.healthHistory
  const { from, to } = rangeOf(query, language)
  const { incidents, hasMore } = await store.incidents({ from, to, check: query.check, limit: MAX_INCIDENTS })
  const days = (await store.readyShares({ from, to }, timeZone)).map(dayBody)
  const range = { from: from.toISOString(), to: to.toISOString(), time_zone: timeZone }
  const lists = { incidents: incidents.map(incidentBody), has_more: hasMore, days }
  return reply.code(200).send({ success: true, ...range, ...lists })
}

/** @throws {ServiceError} `VALIDATION_FAILED` when the end is not after the start, or too long after it */
function rangeOf(query: { from?: string; to?: string }, language: Language): { from: Date; to: Date } {
  const to = query.to === undefined ? new Date() : new Date(query.to)
  const from = query.from === undefined ? new Date(to.getTime() - DEFAULT_DAYS * DAY) : new Date(query.from)
  const ms = to.getTime() - from.getTime()
  if (!(ms > 0 && ms <= HISTORY_DAYS * DAY)) throw invalidField('/querystring/from', language)
  return { from, to }
}

function incidentBody({ check, code, instance, from, until }: Incident): Static<typeof IncidentSchema> {
  return { check, code, instance, from: from.toISOString(), until: until?.toISOString() ?? null }
}

function dayBody({ date, readyShare }: { date: string; readyShare: number | null }): Static<typeof DaySchema> {
  return { date, ready_share: readyShare }
}

export default routes
