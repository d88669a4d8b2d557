// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { bearerOf, unauthenticated } from '../src/auth/bearer.ts'
import type { Caller, Identity } from '../src/auth/caller.ts'
import type { StoredSession } from '../src/auth/session-store.ts'
import type { Role } from '../src/auth/users.ts'
import { ServiceError } from '../src/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Hook: only for callers with valid credentials, whatever the role is, and also while a password change is due. Sets
     * `request.identity`.
     */
    identify(request: FastifyRequest): Promise<void>
    /** Hook of a scope: only for callers with any role who do not have to change their password. Sets `request.caller`. */
    requireSignedIn(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** As `requireSignedIn`, for viewers and admins; requests that may change something (not GET, HEAD, OPTIONS) for admins only. */
    requireReader(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** As `requireSignedIn`, for admins only. */
    requireAdmin(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook: rejects requests with a token, valid or not. */
    refuseTokens(request: FastifyRequest, reply: FastifyReply): Promise<void>
    /** Hook of a scope: rejects requests that another site makes in the browser of a signed-in user. */
    refuseForeign(request: FastifyRequest, reply: FastifyReply): Promise<void>
  }
  interface FastifyRequest {
    /** Who makes the request; set after `requireSignedIn`, `requireReader` or `requireAdmin`. */
    caller: Caller
    /** The caller with valid credentials, also where the request is rejected; that of a token only after `identify`. */
    readonly identity: Identity | undefined
    /** The part of `identity` that `identify` sets. */
    tokenIdentity: Identity | undefined
    /** The name of a valid token that is rejected because the client is outside of its networks; for the audit only. */
    outsideToken: string | undefined
  }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * The hooks with which a scope is for some roles only. All of them decide before the body is parsed. A request with
 * `Authorization: Bearer` is made by the token alone: its cookie is ignored.
 */
async function callers(api: FastifyInstance) {
  api.decorateRequest('caller')
  api.decorateRequest('tokenIdentity')
  api.decorateRequest('outsideToken')
  api.decorateRequest('identity', {
    getter(this: FastifyRequest) {
      return this.tokenIdentity ?? sessionIdentity(this.session)
    }
  })

  api.decorate('identify', async request => {
    await identify(request)
  })
  api.decorate('requireSignedIn', request => admit(request, () => true))
  api.decorate('requireReader', request =>
    admit(request, role => role === 'admin' || (role === 'viewer' && SAFE_METHODS.has(request.method)))
  )
  api.decorate('requireAdmin', request => admit(request, role => role === 'admin'))
  api.decorate('refuseTokens', refuseTokens)
  api.decorate('refuseForeign', refuseForeign)
}

function sessionIdentity(session: StoredSession | null): Identity | undefined {
  const { user, expiresAt = '' } = session ?? {}
  if (!user) return undefined
  const { username, userId, role } = user
  return { name: username, role, userId, username, kind: 'session', user, expiresAt }
}

/**
 * @throws {ServiceError} UNAUTHENTICATED, TOO_MANY_ATTEMPTS, OVERLOADED
 * @throws {DatabaseUnavailableError} unless the route answers without the database, and this replica knows the token
 */
async function identify(request: FastifyRequest): Promise<Identity> {
  const { server, raw, clientAddress: address, routeOptions } = request
  const token = bearerOf(raw.rawHeaders)
  if (token !== undefined) {
    const isCertain = request.isAddressCertain && !request.hasIgnoredForwarding
    const onOutside = (name: string) => {
      request.outsideToken = name
    }
    request.tokenIdentity = await server.auth.tokens.authenticate(token, { address, isCertain, onOutside })
  }
  const { identity } = request
  if (!identity) throw unauthenticated()
  if (identity.unverified && !routeOptions.config?.answersWithoutDatabase) throw identity.unverified
  return identity
}

/** @throws {ServiceError} as `identify`, then FORBIDDEN, then PASSWORD_CHANGE_REQUIRED */
async function admit(request: FastifyRequest, mayCall: (role: Role) => boolean): Promise<void> {
  const { name, role, userId, username, kind, user } = await identify(request)
  if (!mayCall(role)) throw new ServiceError('FORBIDDEN')
  if (user?.mustChangePassword) throw new ServiceError('PASSWORD_CHANGE_REQUIRED')
  request.caller = { name, role, userId, username, kind }
  if (role === 'admin') request.server.connections.main.protect(request.raw)
}

/** @throws {ServiceError} FORBIDDEN */
async function refuseTokens({ raw }: FastifyRequest): Promise<void> {
  if (bearerOf(raw.rawHeaders) !== undefined) throw new ServiceError('FORBIDDEN')
}

/**
 * A browser sends cookies with requests of other sites, but no token.
 * @throws {ServiceError} FOREIGN_ORIGIN
 */
async function refuseForeign({ method, headers, protocol, host, caller }: FastifyRequest): Promise<void> {
  if (SAFE_METHODS.has(method) || caller?.kind === 'token') return
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') throw new ServiceError('FOREIGN_ORIGIN')
  const { origin } = headers
  if (origin !== undefined && origin !== `${protocol}://${host}`) throw new ServiceError('FOREIGN_ORIGIN')
}

export default fp(callers, { name: 'callers', fastify: '5.x', dependencies: ['admin-auth', 'connections'] })
