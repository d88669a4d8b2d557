// Sends arbitrary requests to every route. FUZZ_REQUESTS sets their number (1,000), FUZZ_SEED repeats a run.
import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import type { TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import type { FastifyInstance, FastifySchema } from 'fastify'
import t from 'tap'
import { catalogue } from '../src/errors.ts'
import { startApp, untilStatus } from './support/app.ts'
import { allowed, HOSTILE, refused } from './support/arbitraries.ts'
import { migratedDatabase } from './support/migrated-database.ts'
import { adminOf } from './support/session.ts'

const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 1_000)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
/** A request that takes longer counts as hanging. */
const PATIENCE_MS = 30_000

interface Route {
  method: string
  url: string
  schema: FastifySchema
}

interface Call {
  route: Route
  signedIn: boolean
  params: string
  query: string
  headers: Record<string, string>
  body: Buffer
}

interface Answer {
  status: number
  body: Buffer
}

/** The statuses of answers that are given before the handler of a route. */
const BEFORE_THE_ROUTE = new Set([400, 401, 403, 404, 405, 413, 414, 415, 431])

t.test('no request causes an internal error, hangs, or changes state although it is rejected', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const routes: Route[] = []
  const { app, url } = await startApp(
    t,
    { DATABASE_URL: databaseUrl, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' },
    {
      onRoute: ({ method, url, schema = {} }) =>
        routes.push(...[method].flat().map(method => ({ method, url, schema })))
    }
  )
  await untilStatus(`${url}/health/startup`, 200)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let admin = await adminOf(app, 'admin0')
  let admins = 1
  const statuses = new Map<number, number>()

  const property = fc.asyncProperty(calls(routes), async call => {
    const before = await state(app)
    const cookie = call.signedIn ? String(admin.cookie) : ''
    const answer = await send(agent, url, call, cookie)
    const { status } = answer
    statuses.set(status, (statuses.get(status) ?? 0) + 1)

    const { route } = call
    const documented = Object.keys((route.schema.response ?? {}) as Record<string, unknown>).map(Number)
    const failure = `${route.method} ${`${call.params}?${call.query}`.slice(0, 200)} answers ${status}: ${answer.body.toString().slice(0, 300)}`
    // HTML pages are not part of the API document.
    if (!('hide' in route.schema) && !documented.includes(status) && !BEFORE_THE_ROUTE.has(status))
      throw new Error(`not documented: ${failure}`)
    if (status === 500 && !failure.includes('JOB_FAILED')) throw new Error(`broken: ${failure}`)
    if (status >= 400 && !('hide' in route.schema) && !isEnvelope(route, answer))
      throw new Error(`not in the envelope: ${failure}`)
    if (status >= 400 && status < 500 && (await state(app)) !== before)
      throw new Error(`rejected, but the state changed: ${failure}`)
    if (route.url !== '/api/auth/logout' || status !== 200) return
    // The session has ended, and the arbitrary sign-ins may have locked this address.
    await app.db.run(sql => sql`delete from sign_in_limits`)
    admin = await adminOf(app, `admin${admins++}`)
  })
  const { failed, errorInstance } = await fc.check(property, { numRuns: REQUESTS, seed: SEED, endOnFailure: true })
  t.notOk(failed, `no failure (FUZZ_SEED=${SEED}): ${String(errorInstance)}`)
  t.comment(`seed ${SEED}; answers by status: ${[...statuses].sort(([a], [b]) => a - b).join(' ')}`)

  for (const status of [200, 400]) {
    const requests = statuses.get(status) ?? 0
    t.ok(requests > REQUESTS / 50, `enough answers with ${status}: ${requests} of ${REQUESTS}`)
  }
  t.equal((await fetch(`${url}/health/ready`)).status, 200, 'the service is still ready')
})

function isEnvelope(route: Route, { body }: Answer): boolean {
  if (route.method === 'HEAD') return body.length === 0
  const answer: unknown = JSON.parse(body.toString())
  if (typeof answer !== 'object' || answer === null) return false
  // Probes have their own answers.
  if (/^\/(health|api\/system\/health$)/.test(route.url) && 'timestamp' in answer) return true
  return 'code' in answer && Object.keys(catalogue).includes(String(answer.code)) && 'error' in answer
}

/** The state that a rejected request must not change, as one text. */
async function state(app: FastifyInstance): Promise<string> {
  const [row] = await app.db.run(
    sql => sql<{ state: string }[]>`
      select concat_ws('|',
        (select string_agg(concat_ws(',', user_id, username, password_hash, is_admin, is_active), ';' order by user_id) from users),
        (select string_agg(concat_ws(',', job_id, paused, paused_by, paused_reason), ';' order by job_id) from scheduled_jobs),
        (select concat_ws(',', running, changed_by, changed_at, reason, resumes_at) from scheduler_state),
        (select count(*) from sessions), (select count(*) from cache_commands), (select count(*) from job_runs),
        (select count(*) from outbox), (select count(*) from accounts)) as state`
  )
  return row?.state ?? ''
}

function calls(routes: readonly Route[]): fc.Arbitrary<Call> {
  return fc.constantFrom(...routes).chain(route =>
    fc
      .record({
        route: fc.constant(route),
        signedIn: fc.boolean().map(chosen => chosen || route.url.startsWith('/docs')),
        params: params(route),
        query: query(route),
        headers: fc.constant({}),
        body: fc.constant(Buffer.alloc(0))
      })
      .chain(call => (['GET', 'HEAD'].includes(route.method) ? fc.constant(call) : withBody(call)))
  )
}

function params({ url, schema }: Route): fc.Arbitrary<string> {
  const properties: Record<string, TSchema> = (schema.params as TSchema | undefined)?.properties ?? {}
  const parts = url.split('/').map(part => {
    if (!part.startsWith(':') && part !== '*') return fc.constant(part)
    const own = properties[part.slice(1)]
    const hostile = fc.constantFrom(...HOSTILE.filter(Boolean), '%', '%ff', 'a'.repeat(20_000))
    const good = own ? allowed(own).map(String) : hostile
    return fc.oneof(good, hostile).map(text => (text.startsWith('%') ? text : encode(text)))
  })
  return fc.tuple(...parts).map(all => all.join('/'))
}

function query({ schema }: Route): fc.Arbitrary<string> {
  const own = schema.querystring as TSchema | undefined
  const texts = (value: unknown) =>
    Object.entries(typeof value === 'object' && value !== null ? value : {})
      .map(([name, one]) => `${encode(name)}=${encode(String(one))}`)
      .join('&')
  return fc.oneof(
    { weight: 3, arbitrary: own ? allowed(own).map(texts) : fc.constant('') },
    { weight: 1, arbitrary: own ? refused(own).map(texts) : fc.constantFrom('a=b', '%', '&&==') },
    { weight: 1, arbitrary: fc.constantFrom('limit=1&limit=2', 'limit=%ff', 'before=%00', '__proto__[a]=b') }
  )
}

function withBody(call: Call): fc.Arbitrary<Call> {
  const schema = bodySchema(call.route)
  const json = { 'content-type': 'application/json' }
  const asJson = (value: unknown): Call => ({ ...call, headers: json, body: Buffer.from(JSON.stringify(value) ?? '') })
  return fc.oneof(
    { weight: 4, arbitrary: schema ? allowed(schema).map(asJson) : fc.constant(call) },
    { weight: 4, arbitrary: schema ? refused(schema).map(asJson) : fc.jsonValue().map(asJson) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        { ...call, headers: json, body: Buffer.from([0xff, 0xfe, 0x7b, 0x00]) },
        { ...call, headers: json, body: Buffer.from('{"action":') },
        { ...call, headers: json, body: Buffer.from(`${'['.repeat(20_000)}${']'.repeat(20_000)}`) },
        { ...call, headers: json, body: Buffer.alloc(70_000, ' ') },
        { ...call, headers: json, body: Buffer.from('{"__proto__":{"is_admin":true}}') },
        { ...call, headers: { ...json, 'content-encoding': 'gzip' }, body: Buffer.from('{}') },
        { ...call, headers: { 'content-type': 'application/xml' }, body: Buffer.from('<a/>') },
        {
          ...call,
          headers: { 'content-type': 'application/json; charset=utf-16' },
          body: Buffer.from('{}', 'utf16le')
        },
        { ...call, headers: { 'content-type': 'nonsense' }, body: Buffer.from('{}') },
        { ...call, headers: { 'accept-language': 'x'.repeat(4_000) } }
      )
    }
  )
}

/** The schema of an optional body without null. */
function bodySchema({ schema }: Route): TSchema | undefined {
  const body = schema.body as TSchema | undefined
  const options: TSchema[] | undefined = body?.anyOf
  return options?.find(({ type }) => type === 'object') ?? body
}

/** A lone surrogate cannot be encoded. */
function encode(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}

async function send(agent: Agent, base: string, call: Call, cookie: string): Promise<Answer> {
  const path = call.query === '' ? call.params : `${call.params}?${call.query}`
  const request = httpRequest(base, {
    agent,
    method: call.route.method,
    path,
    signal: AbortSignal.timeout(PATIENCE_MS),
    headers: { ...call.headers, ...(cookie && { cookie }), 'content-length': String(call.body.length) }
  })
  request.end(call.body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks) }
}
