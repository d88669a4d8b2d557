// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { message } from '../../src/messages.ts'
import { MAX_QUIET_MINUTES, type QuietWindow } from '../../src/notifications/quiet-window.ts'
import type { Handler } from '../handler.ts'
import { closed, errors, nullable, Reason, Timestamp } from '../schemas.ts'

const tags = ['health-monitoring']

const WindowSchema = Type.Object(
  { by: Type.String(), reason: Type.String(), since: Timestamp, until: Timestamp },
  closed
)

const example = {
  by: 'ada',
  reason: 'exchange maintenance',
  since: '2026-11-23T12:00:00.000Z',
  until: '2026-11-23T12:30:00.000Z'
}

const currentSchema = {
  tags,
  summary: 'The quiet window, in which notifications are suppressed',
  response: {
    200: Type.Object(
      { success: Type.Literal(true), quiet: nullable(WindowSchema) },
      { ...closed, examples: [{ success: true, quiet: example }] }
    ),
    ...errors(401, 403, 503)
  }
}

const startSchema = {
  tags,
  summary: 'Suppress notifications for some minutes',
  body: Type.Object(
    { for_minutes: Type.Integer({ minimum: 1, maximum: MAX_QUIET_MINUTES }), reason: Reason },
    { ...closed, examples: [{ for_minutes: 30, reason: 'exchange maintenance' }] }
  ),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), message: Type.String(), quiet: WindowSchema },
      { ...closed, examples: [{ success: true, message: '알림이 중지되었습니다', quiet: example }] }
    ),
    ...errors(400, 401, 403, 503)
  }
}

const endSchema = {
  tags,
  summary: 'End the quiet window now',
  response: {
    200: Type.Object(
      { success: Type.Literal(true), message: Type.String(), quiet: Type.Null() },
      { ...closed, examples: [{ success: true, message: '알림이 재개되었습니다', quiet: null }] }
    ),
    ...errors(400, 401, 403, 503)
  }
}

/** The quiet window of the cluster: reading, starting and ending it. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/quiet', { schema: currentSchema }, current)
  app.post('/quiet', { schema: startSchema }, start)
  app.delete('/quiet', { schema: endSchema }, end)
}

const current: Handler<typeof currentSchema> = async ({ server }, reply) => {
  const window = await server.quiet.current()
  return reply.code(200).send({ success: true, quiet: window ? windowBody(window) : null })
}

const start: Handler<typeof startSchema> = async ({ server, body, caller, audit, language }, reply) => {
  const { reason, for_minutes: forMinutes } = body
  const window = await server.quiet.start({ by: caller.name, reason, forMinutes }, tx => audit.succeeded(tx))
  const text = message('quiet.started', language)
  return reply.code(200).send({ success: true, message: text, quiet: windowBody(window) })
}

const end: Handler<typeof endSchema> = async ({ server, audit, language }, reply) => {
  await server.quiet.end(tx => audit.succeeded(tx))
  return reply.code(200).send({ success: true, message: message('quiet.ended', language), quiet: null })
}

function windowBody({ by, reason, since, until }: QuietWindow): Static<typeof WindowSchema> {
  return { by, reason, since: since.toISOString(), until: until.toISOString() }
}

export default routes
