// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import cookie, { Signer } from '@fastify/cookie'
import session, { type FastifySessionOptions } from '@fastify/session'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import { HOUR } from '../src/async/durations.ts'
import { AuditLog } from '../src/auth/audit-log.ts'
import { bearerOf } from '../src/auth/bearer.ts'
import { Passwords } from '../src/auth/passwords.ts'
import { Refusals } from '../src/auth/refusals.ts'
import { SessionStore, type SessionUser, type StoredSession } from '../src/auth/session-store.ts'
import { SignIn, type SignInOutcome, signInOutcomes } from '../src/auth/sign-in.ts'
import { SignInLimits } from '../src/auth/sign-in-limits.ts'
import { SignInNetworks } from '../src/auth/sign-in-networks.ts'
import { TokenSignIn } from '../src/auth/token-sign-in.ts'
import { Users } from '../src/auth/users.ts'
import type { Config } from '../src/config.ts'
import type { TransactionSql } from '../src/database/client.ts'
import type { ErrorCode } from '../src/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    auth: {
      signIn: SignIn
      tokens: TokenSignIn
      users: Users
      passwords: Passwords
      audit: AuditLog
      refusals: Refusals
    }
    /** Hook of a scope, before the handler: records the request of each action in the audit log. */
    auditRequested(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook of a scope, `onSend`: records the outcome of each action, also when the client has disconnected. */
    auditFinished(request: FastifyRequest, reply: FastifyReply): Promise<void>
  }
  interface FastifyRequest {
    /** Whether it has forwarded headers of an address that is not in TRUST_PROXY. They are ignored. */
    hasIgnoredForwarding: boolean
    audit: {
      /** Records the success in the action's own transaction: both are committed, or neither. */
      succeeded(tx: TransactionSql, details?: Record<string, unknown>): Promise<void>
    }
  }
  interface FastifyContextConfig {
    /** The route answers without the database, too, and accepts a session that this replica knew before. Default false */
    answersWithoutDatabase?: boolean
  }
  interface Session {
    user?: SessionUser
    expiresAt?: string
  }
}

interface AdminAuthOptions {
  config: Config & { SESSION_SECRET: string }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])
const COOKIE = 'session'
/** Addresses of which is known that they were reported. */
const MAX_REPORTED_PROXIES = 1_000

/**
 * Sign-in, sessions, tokens, and the audit of requests. It is registered in the scope of the routes that need it; the
 * probes are outside of that scope.
 */
async function adminAuth(api: FastifyInstance, { config }: AdminAuthOptions) {
  const secrets = config.SESSION_SECRET.split(',')
  const audit = new AuditLog(api.db)
  const sessions = new SessionStore(api.db, {
    idleMinutes: config.SESSION_IDLE_MINUTES,
    maxHours: config.SESSION_MAX_HOURS
  })
  const networks = new SignInNetworks(api.db, secrets)
  decorateAuth(api, { audit, sessions, networks, limits: new SignInLimits(api.db, networks, secrets[0] ?? '') })

  await registerSessions(api, sessions, { secrets, secure: config.COOKIE_SECURE === 'always' })
  api.addHook('onRequest', refuseUnverified)
  warnOfUntrustedProxy(api, config)

  api.decorateRequest('audit')
  decorateAuditHooks(api, audit)
  api.addHook('onResponse', auditRefusal)
}

interface CookieOptions {
  /** The first signs, the others are still accepted. */
  secrets: string[]
  secure: boolean
}

async function registerSessions(api: FastifyInstance, sessions: SessionStore, { secrets, secure }: CookieOptions) {
  const signer = new Signer(secrets, 'sha256')
  await api.register(cookie)
  api.addHook('onRequest', chooseCookie)
  await api.register(session, {
    secret: signer,
    cookieName: COOKIE,
    saveUninitialized: false,
    rolling: false,
    // `secure` is set at sign-in: the library's `auto` would also relax SameSite.
    cookie: { path: '/', httpOnly: true, sameSite: 'strict', secure },
    store: sessions as NonNullable<FastifySessionOptions['store']>
  })
  api.addHook('onSend', sendOneCookie)

  /**
   * The library uses the first cookie of the name. A request may have several, of other paths or hosts: that of an open
   * session counts. It is signed again, because the library clears a cookie that the first secret has not signed.
   */
  async function chooseCookie(request: FastifyRequest) {
    // A request with a token is made by the token alone.
    if (bearerOf(request.raw.rawHeaders) !== undefined) {
      delete request.cookies[COOKIE]
      return
    }
    const values = (request.headers.cookie ?? '').split(';').map(part => api.parseCookie(part)[COOKIE] ?? '')
    const ids = values.map(value => signer.unsign(value)).flatMap(({ valid, value }) => (valid && value ? [value] : []))
    const id = ids.length > 1 ? await sessions.firstOpen(ids) : ids[0]
    if (id !== undefined) request.cookies[COOKIE] = signer.sign(id)
  }
}

/** The library clears the former cookie before it sets the new one. Some clients, such as HTTPie, then keep neither. */
async function sendOneCookie(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const lines = [reply.getHeader('set-cookie') ?? []].flat().map(String)
  if (lines.length < 2) return
  reply.removeHeader('set-cookie')
  for (const line of new Map(lines.map(line => [line.split('=', 1)[0], line])).values())
    reply.header('set-cookie', line)
}

function decorateAuth(
  api: FastifyInstance,
  parts: { audit: AuditLog; sessions: SessionStore; networks: SignInNetworks; limits: SignInLimits }
): void {
  const { audit } = parts
  const users = new Users(api.db)
  const passwords = new Passwords()
  const count = (outcome: SignInOutcome, by = 1) => api.metrics.count('trading_health_sign_ins_total', { outcome }, by)
  for (const outcome of signInOutcomes) count(outcome, 0)
  const signIn = new SignIn({
    ...parts,
    database: api.db,
    users,
    passwords,
    onSignIn: outcome => count(outcome),
    onThrottled: proxyWarning(api.log)
  })
  const refusals = new Refusals({ audit, log: api.log })
  const tokens = new TokenSignIn({ database: api.db, limits: parts.limits })
  api.decorate('auth', { users, passwords, audit, refusals, signIn, tokens })
  // Before the database is closed.
  api.addHook('onClose', () => Promise.all([passwords.close(), refusals.close()]))
}

/** @throws {DatabaseUnavailableError} why the session could not be read, unless the route answers without the database */
async function refuseUnverified({ session, routeOptions }: FastifyRequest): Promise<void> {
  const { unverified } = (session as StoredSession | null) ?? {}
  if (unverified && !routeOptions.config?.answersWithoutDatabase) throw unverified
}

function decorateAuditHooks(api: FastifyInstance, audit: AuditLog): void {
  /** The requests whose success is recorded. */
  const recorded = new WeakSet<FastifyRequest>()

  api.decorate('auditRequested', async request => {
    if (SAFE_METHODS.has(request.method) || request.is404) return
    const entry = auditEntry(request)
    const details = request.body === undefined ? {} : { body: request.body }
    await audit.record({ ...entry, outcome: 'requested', details })
    request.audit = {
      succeeded: async (tx, details) => {
        await audit.record({ ...entry, outcome: 'succeeded', details }, tx)
        recorded.add(request)
      }
    }
  })

  api.decorate('auditFinished', async (request: FastifyRequest, reply: FastifyReply) => {
    if (!request.audit || (recorded.has(request) && reply.statusCode < 400)) return
    const outcome = reply.statusCode < 400 ? 'succeeded' : reply.statusCode < 500 ? 'refused' : 'failed'
    try {
      await audit.record({ ...auditEntry(request), outcome, details: { status: reply.statusCode } })
    } catch (err) {
      request.log.error({ err, outcome }, 'outcome not audited')
    }
  })
}

/** Rejections of every client, and statuses of rejections of an admitted caller before the action is recorded. */
const REFUSED: ReadonlySet<unknown> = new Set([
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'PASSWORD_CHANGE_REQUIRED',
  'FOREIGN_ORIGIN'
] satisfies ErrorCode[])
const REFUSED_OF_CALLERS: ReadonlySet<number> = new Set([400, 413, 415])

/** Records a rejected request without a query of its own. Wrong credentials and started actions have their own rows. */
async function auditRefusal(request: FastifyRequest, { statusCode }: FastifyReply): Promise<void> {
  const { errorCode: code, method, routeOptions, clientAddress: address, id: requestId } = request
  const isOfCaller = request.caller !== undefined && !request.audit && REFUSED_OF_CALLERS.has(statusCode)
  const isOfToken = code === 'TOO_MANY_ATTEMPTS' && bearerOf(request.raw.rawHeaders) !== undefined
  if (code === undefined || !(REFUSED.has(code) || isOfCaller || isOfToken)) return
  const actor = request.identity?.name ?? request.outsideToken
  const action = `${method} ${routeOptions.url ?? 'unknown path'}`
  request.server.auth.refusals.record({ code, status: statusCode, actor, address, action, requestId })
}

function auditEntry(request: FastifyRequest) {
  return {
    actor: request.caller.name,
    address: request.clientAddress,
    action: `${request.method} ${request.routeOptions.url ?? ''}`,
    target: Object.values(request.params as Record<string, string>)[0],
    requestId: request.id
  }
}

/**
 * Logs one warning when forwarded headers come from an address that is not trusted: cookies are then not secure, and
 * all clients have the address of the proxy.
 */
function warnOfUntrustedProxy(api: FastifyInstance, config: Config): void {
  let warned = false
  api.decorateRequest('hasIgnoredForwarding', false)
  api.addHook('onRequest', async request => {
    const { headers, ips, clientAddress, log } = request
    const addresses = headers['x-forwarded-for'] !== undefined
    // With TRUST_PROXY, one address means that Fastify used no address of the header.
    const ignored = config.TRUST_PROXY
      ? addresses && ips?.length === 1
      : addresses || headers['x-forwarded-proto'] !== undefined
    request.hasIgnoredForwarding = ignored
    if (!ignored || warned) return
    warned = true
    log.warn({ address: clientAddress }, 'forwarded headers from an address that is not in TRUST_PROXY are ignored')
  })
}

/**
 * Logs a warning when the limit of an address, or of a name with an address, is reached, and the address may be that of a
 * proxy that is not trusted. An address is reported again when it had no throttled attempt for an hour.
 */
function proxyWarning(log: FastifyBaseLogger): NonNullable<ConstructorParameters<typeof SignIn>[0]['onThrottled']> {
  const throttled = new LRUCache<string, true>({ max: MAX_REPORTED_PROXIES, ttl: HOUR })
  return ({ address, hasIgnoredForwarding }, { by }) => {
    if (!hasIgnoredForwarding || by === 'account') return
    if (!throttled.has(address)) {
      log.warn(
        { address },
        'one client behind a proxy that is not in TRUST_PROXY delays the sign-in of all others behind it'
      )
    }
    throttled.set(address, true)
  }
}

export default fp(adminAuth, { name: 'admin-auth', fastify: '5.x', dependencies: ['connections', 'db'] })
