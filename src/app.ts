import helmet from '@fastify/helmet'
import proxyAddr from '@fastify/proxy-addr'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  LogController,
  type RouteOptions
} from 'fastify'
import manifest from '../package.json' with { type: 'json' }
import accounts from '../plugins/accounts.ts'
import adminAuth from '../plugins/admin-auth.ts'
import alerts from '../plugins/alerts.ts'
import books from '../plugins/books.ts'
import cache from '../plugins/cache.ts'
import callers from '../plugins/callers.ts'
import connections from '../plugins/connections.ts'
import db from '../plugins/db.ts'
import errorHandler, { sendError } from '../plugins/error-handler.ts'
import exchangeBudgets from '../plugins/exchange-budgets.ts'
import exchanges from '../plugins/exchanges.ts'
import firstAdmin from '../plugins/first-admin.ts'
import health from '../plugins/health.ts'
import healthHistory from '../plugins/health-history.ts'
import heartbeat from '../plugins/heartbeat.ts'
import invalidRows from '../plugins/invalid-rows.ts'
import lazySchemas from '../plugins/lazy-schemas.ts'
import metrics from '../plugins/metrics.ts'
import openapi from '../plugins/openapi.ts'
import pressure from '../plugins/pressure.ts'
import quiet from '../plugins/quiet.ts'
import replicas from '../plugins/replicas.ts'
import request from '../plugins/request.ts'
import scheduler from '../plugins/scheduler.ts'
import telegram from '../plugins/telegram.ts'
import telegramCommands from '../plugins/telegram-commands.ts'
import tradingReader from '../plugins/trading-reader.ts'
import webhook from '../plugins/webhook.ts'
import authRoutes from '../routes/auth.ts'
import docsRoutes from '../routes/docs.ts'
import healthRoutes from '../routes/health.ts'
import { ErrorAnswer } from '../routes/schemas.ts'
import systemHealthRoutes from '../routes/system/health.ts'
import systemRoutes from '../routes/system/index.ts'
import tradingRoutes from '../routes/trading/index.ts'
import type { GeneratedKey } from './accounts/encryption-key.ts'
import { networkList, parseAddress } from './client-address.ts'
import type { Config } from './config.ts'
import { requestDeadlines } from './connections/http-connections.ts'
import { requestIds } from './error-headers.ts'
import { ServiceError } from './errors.ts'
import { answerClientError, answerProtocolErrors, lacksHost, ownHostCheck } from './protocol-errors.ts'
import { routableTarget } from './request-target.ts'
import type { Job } from './scheduler/job.ts'

/** The settings, with generated secrets where none were set. */
export type ServiceConfig = Config & { SESSION_SECRET: string; ENCRYPTION_KEY: string }

/** What the process provides, and tests replace. */
export interface Overrides {
  logger: FastifyBaseLogger
  /** Prints the one-time admin password to a terminal; it must not reach the log. Without it the password is in a file. */
  print?: (text: string) => void
  /** Verifies a generated `ENCRYPTION_KEY`, and writes a new one to its file. */
  keepKey?: GeneratedKey['keep']
  /** Additional routes in the scope of the API. */
  api?: FastifyPluginAsync
  /** Called for every registered route. */
  onRoute?: (route: RouteOptions) => void
  /** Replaces the jobs of the service. */
  jobs?: readonly Job[]
  /** Longest wait for the replicas to acknowledge that they cleared their caches, in milliseconds. Default 1 s. */
  acknowledgedWithinMs?: number
}

/** The version of this service, from package.json when it was built. */
const VERSION = manifest.version

/** Every path below them requires a sign-in, malformed ones too. */
const PROTECTED = ['/api/system/', '/api/trading/']
const BODY_LIMIT = 64 * 1024
const MAX_PARAM_LENGTH = 16 * 1024
const REQUEST_TIMEOUT_MS = 30_000

/** Builds the whole service. It does not listen yet, and connects to nothing: the plugins connect once the port is open. */
export function buildApp(config: ServiceConfig, overrides: Overrides): FastifyInstance {
  const { logger, api, print, keepKey, onRoute, jobs, acknowledgedWithinMs } = overrides
  const app = createFastify(config, logger)
  if (onRoute) app.addHook('onRoute', onRoute)
  app.register(errorHandler)
  app.register(openapi, { version: VERSION, errorAnswer: ErrorAnswer })
  app.register(connections, { config })
  app.register(metrics, { config, version: VERSION })
  app.register(db, { config })
  app.register(health, { config })
  app.register(replicas, { config, version: VERSION })
  app.register(healthHistory, { config })
  app.register(exchanges, { config })
  app.register(invalidRows)
  app.register(cache, { config, acknowledgedWithinMs })
  app.register(accounts, { config, ...(keepKey && { keepKey }) })
  app.register(telegram, { config })
  app.register(webhook, { config })
  app.register(scheduler, { config, jobs })
  app.register(books)
  app.register(alerts, { config })
  app.register(quiet)
  app.register(heartbeat, { config })
  app.register(telegramCommands, { config })
  app.register(exchangeBudgets)
  app.register(tradingReader, { config })

  app.register(probeRoutes)
  app.register(apiRoutes)
  return app

  /** Outside of every scope that could reject, delay or log a probe. */
  async function probeRoutes(probes: FastifyInstance) {
    probes.setChildLoggerFactory(parent => parent)
    probes.setSerializerCompiler(() => JSON.stringify)
    probes.register(healthRoutes)
    probes.register(systemHealthRoutes)
  }

  async function apiRoutes(scope: FastifyInstance) {
    scope.register(request)
    scope.register(lazySchemas)
    scope.register(helmet)
    scope.register(pressure, { config })
    scope.register(adminAuth, { config })
    scope.register(callers)
    if (config.DATABASE_URL === undefined) scope.register(firstAdmin, { config, print })
    scope.register(authRoutes)
    scope.register(systemRoutes)
    scope.register(tradingRoutes)
    scope.register(docsRoutes)
    if (api) scope.register(api)
  }
}

/** A server without routes: the limits of its requests, and the answers to requests that no route gets. */
function createFastify(config: Config, logger: FastifyBaseLogger): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestIds(),
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Longer than the proxy keeps it: a proxy must not send a request on a connection that the service closes.
    keepAliveTimeout: config.KEEP_ALIVE_SECONDS * 1_000,
    trustProxy: config.TRUST_PROXY === undefined ? false : trustOf(config.TRUST_PROXY),
    // Plugins read the target as a path: @fastify/session has no session for an absolute address.
    rewriteUrl: ({ url = '' }) => routableTarget(url, PROTECTED),
    // Every path that fits into the headers is routed, so that a protected scope rejects it like any other.
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: (err, req, reply) => sendError(err, req, reply),
    clientErrorHandler: answerClientError,
    http: { ...ownHostCheck, ...requestDeadlines(REQUEST_TIMEOUT_MS) }
  })
  handleProtocolErrors(app)
  return app
}

/** Which hops are trusted: a proxy may write the address of the one before it in any of its forms. */
function trustOf(networks: string): (hop: string | undefined) => boolean {
  const trusts = proxyAddr.compile(networkList(networks))
  return hop => {
    const address = parseAddress(hop)
    return address !== undefined && trusts(address, 0)
  }
}

function handleProtocolErrors(app: FastifyInstance): void {
  // Without a free descriptor a connection cannot be accepted. Only that client is affected.
  app.server.on('error', err => app.log.debug({ err }, 'main port failed'))
  answerProtocolErrors(app.server)
  app.addHook('onRequest', (request, _reply, done) => {
    done(lacksHost(request.raw) ? new ServiceError('BAD_REQUEST') : undefined)
  })
}
