// @FEAT:health-monitoring @COMP:route @TYPE:integration
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { ServiceError } from '../../src/errors.ts'
import { message } from '../../src/messages.ts'
import type { TelegramTestResult } from '../../src/notifications/telegram-test.ts'
import type { Handler } from '../handler.ts'
import { closed, errors } from '../schemas.ts'

const Stage = Type.Object(
  {
    stage: Type.Union([Type.Literal('get_me'), Type.Literal('get_chat'), Type.Literal('send_message')]),
    ok: Type.Boolean(),
    duration_ms: Type.Integer()
  },
  closed
)

const testSchema = {
  tags: ['health-monitoring'],
  summary: "Send a test message to the operator's chat, with the result of each stage",
  response: {
    200: Type.Object(
      { success: Type.Literal(true), message: Type.String(), stages: Type.Array(Stage) },
      {
        ...closed,
        examples: [
          {
            success: true,
            message: '텔레그램 연결 성공',
            stages: [
              { stage: 'get_me', ok: true, duration_ms: 84 },
              { stage: 'get_chat', ok: true, duration_ms: 61 },
              { stage: 'send_message', ok: true, duration_ms: 102 }
            ]
          }
        ]
      }
    ),
    ...errors(401, 403, 502, 503)
  }
}

/** A test of the connection to the operator's chat. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.post('/test-telegram', { schema: testSchema }, test)
}

const test: Handler<typeof testSchema> = async ({ server, language }, reply) => {
  const result = await server.telegram.test()
  if (!result.ok) throw failure(result)
  return reply
    .code(200)
    .send({ success: true, message: message('telegram.connected', language), stages: result.stages })
}

function failure(result: Exclude<TelegramTestResult, { ok: true }>): ServiceError {
  if (result.code === 'TELEGRAM_NOT_CONFIGURED') return new ServiceError(result.code)
  const { code, stage, stages, error } = result
  return new ServiceError(code, { cause: error, extra: { stage, stages } })
}

export default routes
