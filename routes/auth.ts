// @FEAT:health-monitoring @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { PASSWORD_MAX, PASSWORD_MIN } from '../src/auth/passwords.ts'
import { type SessionUser, sessionHash } from '../src/auth/session-store.ts'
import { ROLES, type User } from '../src/auth/users.ts'
import { ServiceError } from '../src/errors.ts'
import type { Handler } from './handler.ts'
import { closed, errors, nullable, Timestamp } from './schemas.ts'

const tags = ['sign-in']
const Success = Type.Object({ success: Type.Literal(true) }, { examples: [{ success: true }] })

const signInSchema = {
  tags,
  summary: 'Sign in',
  security: [],
  body: Type.Object(
    {
      username: Type.String({ minLength: 1, maxLength: 64 }),
      password: Type.String({ minLength: 1, maxLength: PASSWORD_MAX })
    },
    { ...closed, examples: [{ username: 'ops', password: 'correct horse battery staple' }] }
  ),
  response: {
    200: Type.Object(
      { success: Type.Literal(true), user: Type.Object({ username: Type.String(), is_admin: Type.Boolean() }) },
      { examples: [{ success: true, user: { username: 'ops', is_admin: true } }] }
    ),
    ...errors(401, 429)
  }
}

const signOutSchema = { tags, summary: 'Sign out', security: [], response: { 200: Success, ...errors(403) } }

const RoleName = Type.Union(ROLES.map(role => Type.Literal(role)))

const currentUserSchema = {
  tags,
  summary: 'Who is signed in: the user of the session, or the token',
  response: {
    200: Type.Object(
      {
        success: Type.Literal(true),
        user: nullable(
          Type.Object({
            username: Type.String(),
            role: RoleName,
            is_admin: Type.Boolean(),
            must_change_password: Type.Boolean()
          })
        ),
        session: Type.Optional(Type.Object({ expires_at: Timestamp })),
        token: Type.Optional(Type.Object({ name: Type.String(), role: RoleName, expires_at: Timestamp }))
      },
      {
        examples: [
          {
            success: true,
            user: { username: 'ops', role: 'admin', is_admin: true, must_change_password: false },
            session: { expires_at: '2026-11-23T13:00:00.000Z' }
          }
        ]
      }
    ),
    ...errors(401, 429)
  }
}

const changePasswordSchema = {
  tags,
  security: [{ session: [] }],
  summary: 'Change my password; all my other sessions end',
  body: Type.Object(
    {
      current_password: Type.String({ minLength: 1, maxLength: PASSWORD_MAX }),
      new_password: Type.String({ minLength: PASSWORD_MIN, maxLength: PASSWORD_MAX })
    },
    {
      ...closed,
      examples: [{ current_password: 'correct horse battery staple', new_password: 'another long password' }]
    }
  ),
  response: { 200: Success, ...errors(400, 401, 403, 429) }
}

/** Sign-in, sign-out and the user's own password. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.addHook('onRequest', app.refuseForeign)
  const { identify, refuseTokens } = app
  app.post('/api/auth/login', { schema: signInSchema, onRequest: refuseTokens }, signIn)
  const signOutHooks = { onRequest: refuseTokens, onSend: clearCookieOfFailure }
  app.post('/api/auth/logout', { schema: signOutSchema, ...signOutHooks }, signOut)
  app.get('/api/auth/me', { schema: currentUserSchema, onRequest: identify }, currentUser)
  // Without a session the body is not parsed.
  const sessionsOnly = { onRequest: [identify, refuseTokens] }
  app.post('/api/auth/password', { schema: changePasswordSchema, ...sessionsOnly }, changePassword)
}

const signIn: Handler<typeof signInSchema> = async (request, reply) => {
  const { username, password } = request.body
  const user = await request.server.auth.signIn.authenticate(username, password, originOf(request))
  await openSession(request, user)
  return reply.code(200).send({ success: true, user: { username: user.username, is_admin: user.role === 'admin' } })
}

async function openSession(request: FastifyRequest, user: User): Promise<void> {
  if (request.protocol === 'https') request.session.options({ secure: true })
  // A new id at every sign-in: an id that was known before the sign-in is useless.
  await request.session.regenerate()
  await request.server.auth.signIn.open(user, request.session.sessionId, originOf(request))
  const { userId, username, role, mustChangePassword } = user
  request.session.user = { userId, username, role, mustChangePassword }
  await request.session.save()
}

const signOut: Handler<typeof signOutSchema> = async (request, reply) => {
  const { user } = request.session
  if (user) {
    await request.session.destroy()
    await auditSignOut(request, user.username)
  }
  return reply.clearCookie('session', { path: '/' }).code(200).send({ success: true })
}

/** The session has ended, whether its row can be written or not. */
async function auditSignOut(request: FastifyRequest, actor: string): Promise<void> {
  const entry = { actor, action: 'sign_out', ...originOf(request), outcome: 'succeeded' } as const
  await request.server.auth.audit.record(entry).catch((err: unknown) => {
    request.log.error({ err, outcome: entry.outcome }, 'outcome not audited')
  })
}

/**
 * The browser must not keep a cookie that its user wants to be rid of, also where the session cannot be ended because of
 * the database. An overloaded replica has not tried to, and another site must not sign a user out.
 */
async function clearCookieOfFailure(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (reply.statusCode < 500 || request.errorCode === 'OVERLOADED') return
  const isOwn = await request.server.refuseForeign(request, reply).then(
    () => true,
    () => false
  )
  if (isOwn) reply.clearCookie('session', { path: '/' })
}

const currentUser: Handler<typeof currentUserSchema> = async ({ identity }, reply) => {
  if (!identity) throw new ServiceError('UNAUTHENTICATED')
  const { name, role, kind, expiresAt: expires_at } = identity
  const user = identity.user && userBody(identity.user)
  const credential =
    kind === 'session' ? { session: { expires_at } } : { token: { name: name.replace('token:', ''), role, expires_at } }
  return reply.code(200).send({ success: true, user, ...credential })
}

function userBody({ username, role, mustChangePassword }: SessionUser) {
  return { username, role, is_admin: role === 'admin', must_change_password: mustChangePassword }
}

const changePassword: Handler<typeof changePasswordSchema> = async (request, reply) => {
  const { current_password: current, new_password: next } = request.body
  const { username } = userOf(request.session)
  const change = { current, next, keep: sessionHash(request.session.sessionId) }
  await request.server.auth.signIn.changePassword(username, change, originOf(request))
  return reply.code(200).send({ success: true })
}

/** @throws {ServiceError} UNAUTHENTICATED */
function userOf({ user }: FastifyRequest['session']): SessionUser {
  if (!user) throw new ServiceError('UNAUTHENTICATED')
  return user
}

function originOf({ clientAddress, id, hasIgnoredForwarding }: FastifyRequest) {
  return { address: clientAddress, requestId: id, hasIgnoredForwarding }
}

export default routes
