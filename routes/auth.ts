// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { PASSWORD_MAX, PASSWORD_MIN } from '../src/auth/passwords.ts'
import { sessionHash } from '../src/auth/session-store.ts'
import { ServiceError } from '../src/errors.ts'
import { ErrorAnswer } from './error-answer.ts'
import { Timestamp } from './timestamp.ts'

const tags = ['sign-in']
const closed = { additionalProperties: false }
const Success = Type.Object({ success: Type.Literal(true) })

const LoginBody = Type.Object(
  {
    username: Type.String({ minLength: 1, maxLength: 64 }),
    password: Type.String({ minLength: 1, maxLength: PASSWORD_MAX })
  },
  closed
)
const LoginAnswer = Type.Object({
  success: Type.Literal(true),
  user: Type.Object({ username: Type.String(), is_admin: Type.Boolean() })
})
const MeAnswer = Type.Object({
  success: Type.Literal(true),
  user: Type.Object({ username: Type.String(), is_admin: Type.Boolean(), must_change_password: Type.Boolean() }),
  session: Type.Object({ expires_at: Timestamp })
})
const PasswordBody = Type.Object(
  {
    current_password: Type.String({ minLength: 1, maxLength: PASSWORD_MAX }),
    new_password: Type.String({ minLength: PASSWORD_MIN, maxLength: PASSWORD_MAX })
  },
  closed
)

/** Signing in and out. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.addHook('onRequest', app.refuseForeign)

  app.post(
    '/api/auth/login',
    {
      schema: {
        tags,
        summary: 'Sign in',
        security: [],
        body: LoginBody,
        response: { 200: LoginAnswer, 401: ErrorAnswer, 429: ErrorAnswer }
      }
    },
    async request => {
      const { username, password } = request.body
      const origin = originOf(request)
      const user = await app.auth.signIn.authenticate(username, password, origin)
      if (request.protocol === 'https') request.session.options({ secure: true })
      // A new id at every sign-in: one that was known before is worth nothing.
      await request.session.regenerate()
      await app.auth.signIn.open(user, request.session.sessionId, origin)
      const { userId, isAdmin, mustChangePassword } = user
      request.session.user = { userId, username: user.username, isAdmin, mustChangePassword }
      await request.session.save()
      return { success: true as const, user: { username: user.username, is_admin: user.isAdmin } }
    }
  )

  app.post(
    '/api/auth/logout',
    { schema: { tags, summary: 'Sign out', security: [], response: { 200: Success, 403: ErrorAnswer } } },
    async (request, reply) => {
      const { user } = request.session
      if (user) {
        await request.session.destroy()
        await app.auth.audit.record({
          actor: user.username,
          action: 'sign_out',
          outcome: 'succeeded',
          ...originOf(request)
        })
      }
      reply.clearCookie('session', { path: '/' })
      return { success: true as const }
    }
  )

  app.get(
    '/api/auth/me',
    { schema: { tags, summary: 'Who am I', response: { 200: MeAnswer, 401: ErrorAnswer } } },
    async ({ session }) => {
      if (!session.user || !session.expiresAt) throw new ServiceError('UNAUTHENTICATED')
      const { username, isAdmin, mustChangePassword } = session.user
      return {
        success: true as const,
        user: { username, is_admin: isAdmin, must_change_password: mustChangePassword },
        session: { expires_at: session.expiresAt }
      }
    }
  )

  app.post(
    '/api/auth/password',
    {
      // Decided before the body is looked at.
      onRequest: async ({ session }) => {
        if (!session.user) throw new ServiceError('UNAUTHENTICATED')
      },
      schema: {
        tags,
        summary: 'Change my password; every other session of mine ends',
        body: PasswordBody,
        response: { 200: Success, 400: ErrorAnswer, 401: ErrorAnswer, 403: ErrorAnswer, 429: ErrorAnswer }
      }
    },
    async request => {
      const { session, body } = request
      if (!session.user) throw new ServiceError('UNAUTHENTICATED')
      const change = { current: body.current_password, next: body.new_password, keep: sessionHash(session.sessionId) }
      await app.auth.signIn.changePassword(session.user.username, change, originOf(request))
      return { success: true as const }
    }
  )
}

function originOf({ ip, id }: FastifyRequest) {
  return { address: ip, requestId: id }
}

export default routes
