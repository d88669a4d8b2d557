// @FEAT:health-monitoring @COMP:route @TYPE:integration
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { ServiceError } from '../../src/errors.ts'
import { languageOf, message } from '../../src/messages.ts'
import { closed, errors } from './schemas.ts'

const Stage = Type.Object(
  {
    stage: Type.Union([Type.Literal('get_me'), Type.Literal('get_chat'), Type.Literal('send_message')]),
    ok: Type.Boolean(),
    duration_ms: Type.Integer()
  },
  closed
)

/** The way to the operator, tried out. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.post(
    '/test-telegram',
    {
      schema: {
        tags: ['health-monitoring'],
        summary: 'Send a test message to the operator, stage by stage',
        response: {
          200: Type.Object({ success: Type.Literal(true), message: Type.String(), stages: Type.Array(Stage) }, closed),
          ...errors(401, 403, 502, 503)
        }
      }
    },
    async request => {
      const language = languageOf(request.headers['accept-language'])
      const result = await app.telegram.test(language)
      if (result.ok) {
        return { success: true as const, message: message('telegram.connected', language), stages: result.stages }
      }
      if (result.code === 'TELEGRAM_NOT_CONFIGURED') throw new ServiceError(result.code)
      const { code, stage, stages, error } = result
      throw new ServiceError(code, { cause: error, extra: { stage, stages } })
    }
  )
}

export default routes
