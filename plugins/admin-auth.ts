// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import cookie from '@fastify/cookie'
import session, { type FastifySessionOptions } from '@fastify/session'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { AuditLog } from '../src/auth/audit-log.ts'
import { Passwords } from '../src/auth/passwords.ts'
import { SessionStore, type SessionUser, type StoredSession } from '../src/auth/session-store.ts'
import { SignIn, type SignInOutcome, signInOutcomes } from '../src/auth/sign-in.ts'
import { SignInLimits } from '../src/auth/sign-in-limits.ts'
import { Users } from '../src/auth/users.ts'
import type { Config } from '../src/config.ts'
import type { TransactionSql } from '../src/database/client.ts'
import { ServiceError } from '../src/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    auth: {
      signIn: SignIn
      users: Users
      passwords: Passwords
      audit: AuditLog
    }
    /** Hook of a scope: lets signed-in admins pass, whose password is not due to be changed. */
    requireAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook of a scope: refuses a request that another site made. */
    refuseForeign(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook of a scope, before the handler: writes down each action that is requested. */
    auditRequested(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook of a scope, `onSend`: writes down the outcome, whether or not the client is still there to be told. */
    auditFinished(request: FastifyRequest, reply: FastifyReply): Promise<void>
  }
  interface FastifyRequest {
    /** Who is signed in; set behind `requireAdmin`. */
    admin: SessionUser
    audit: {
      /** Writes the outcome in the action's own transaction, so that it stands exactly when the change does. */
      succeeded(tx: TransactionSql, details?: Record<string, unknown>): Promise<void>
    }
  }
  interface Session {
    user?: SessionUser
    expiresAt?: string
  }
}

export interface AdminAuthOptions {
  config: Config & { SESSION_SECRET: string }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Signs admins in: cookie, session, and the hooks that a scope mounts to be for admins only. Registered in the scope of
 * the routes that need it; probes never see it.
 */
async function adminAuth(api: FastifyInstance, { config }: AdminAuthOptions) {
  const secrets = config.SESSION_SECRET.split(',')
  const users = new Users(api.db)
  const passwords = new Passwords()
  const audit = new AuditLog(api.db)
  const limits = new SignInLimits(api.db, secrets[0] ?? '')
  const store = new SessionStore(api.db, {
    idleMinutes: config.SESSION_IDLE_MINUTES,
    maxHours: config.SESSION_MAX_HOURS
  })
  const count = (outcome: SignInOutcome, by = 1) => api.metrics.count('trading_health_sign_ins_total', { outcome }, by)
  for (const outcome of signInOutcomes) count(outcome, 0)
  const parts = { database: api.db, users, passwords, limits, audit, sessions: store }
  const signIn = new SignIn({ ...parts, onSignIn: outcome => count(outcome) })
  api.decorate('auth', { users, passwords, audit, signIn })
  api.addHook('onClose', () => passwords.close())

  await api.register(cookie)
  await api.register(session, {
    secret: secrets,
    cookieName: 'session',
    saveUninitialized: false,
    rolling: false,
    // Whether it is Secure is decided at sign-in: the library's own `auto` would also relax SameSite.
    cookie: { path: '/', httpOnly: true, sameSite: 'strict', secure: config.COOKIE_SECURE === 'always' },
    store: store as NonNullable<FastifySessionOptions['store']>
  })
  warnOfUntrustedProxy(api, config)

  api.decorateRequest('admin')
  api.decorateRequest('audit')
  const written = new WeakSet<FastifyRequest>()

  api.decorate('requireAdmin', async request => {
    const user = (request.session as StoredSession | null)?.user
    if (!user) throw new ServiceError('UNAUTHENTICATED')
    if (!user.isAdmin) throw new ServiceError('FORBIDDEN')
    if (user.mustChangePassword) throw new ServiceError('PASSWORD_CHANGE_REQUIRED')
    request.admin = user
  })

  api.decorate('refuseForeign', async request => {
    if (SAFE_METHODS.has(request.method)) return
    const site = request.headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin' && site !== 'none') throw new ServiceError('FOREIGN_ORIGIN')
    const { origin } = request.headers
    if (origin !== undefined && origin !== `${request.protocol}://${request.host}`) {
      throw new ServiceError('FOREIGN_ORIGIN')
    }
  })

  const entryOf = (request: FastifyRequest) => ({
    actor: request.admin.username,
    address: request.ip,
    action: `${request.method} ${request.routeOptions.url ?? ''}`,
    target: Object.values(request.params as Record<string, string>)[0],
    requestId: request.id
  })

  api.decorate('auditRequested', async request => {
    if (SAFE_METHODS.has(request.method) || request.is404) return
    const entry = entryOf(request)
    const details = request.body === undefined ? {} : { body: request.body }
    await audit.record({ ...entry, outcome: 'requested', details })
    request.audit = {
      succeeded: async (tx, details) => {
        await audit.record({ ...entry, outcome: 'succeeded', details }, tx)
        written.add(request)
      }
    }
  })

  api.decorate('auditFinished', async (request: FastifyRequest, reply: FastifyReply) => {
    if (!request.audit || (written.has(request) && reply.statusCode < 400)) return
    const outcome = reply.statusCode < 400 ? 'succeeded' : reply.statusCode < 500 ? 'refused' : 'failed'
    try {
      await audit.record({ ...entryOf(request), outcome, details: { status: reply.statusCode } })
    } catch (err) {
      request.log.error({ err, outcome }, 'outcome not audited')
    }
  })
}

/** A proxy that is not trusted makes every cookie insecure and every address its own: it is told, once. */
function warnOfUntrustedProxy(api: FastifyInstance, config: Config): void {
  let warned = false
  api.addHook('onRequest', async ({ headers, ips, ip, log }) => {
    if (warned) return
    const addresses = headers['x-forwarded-for'] !== undefined
    // Where some are trusted, Fastify took no address from the header of one that is not.
    const ignored = config.TRUST_PROXY
      ? addresses && ips?.length === 1
      : addresses || headers['x-forwarded-proto'] !== undefined
    if (!ignored) return
    warned = true
    log.warn({ address: ip }, 'forwarded headers from an address that is not in TRUST_PROXY are ignored')
  })
}

export default fp(adminAuth, { name: 'admin-auth', fastify: '5.x', dependencies: ['db'] })
