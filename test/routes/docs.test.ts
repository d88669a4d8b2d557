import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { Signer } from '@fastify/cookie'
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.ts'
import { message } from '../../src/messages.ts'
import { ApiDocument } from '../support/api-document.ts'
import { SESSION_SECRET, startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../support/session.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const routes: string[] = []
const { app, url } = await startApp(
  t,
  { DATABASE_URL, PROBE_PORT: 'off' },
  {
    onRoute: ({ method, url, schema }) => {
      if (!schema?.hide) routes.push(...[method].flat().map(one => `${one} ${url.replace(/:(\w+)/g, '{$1}')}`))
    }
  }
)
await untilStatus(`${url}/health/startup`, 200)
const admin = await adminOf(app)
const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(url + path, { headers: { 'accept-language': 'en', ...headers }, redirect: 'manual' })
const asAdmin = { cookie: String(admin.cookie) }

t.test('the document is for admins only', async t => {
  const user = new Client(url)
  await user.signIn('user', await createUser(app, 'user'))
  for (const path of ['/docs', '/docs/', '/docs/json', '/docs/yaml', '/docs/static/swagger-ui.css', '/docs/x']) {
    const stranger = await get(path)
    t.equal(stranger.status, 401, path)
    t.hasStrict(await stranger.json(), { code: 'UNAUTHENTICATED' })
    t.equal((await get(path, { cookie: String(user.cookie) })).status, 403, path)
  }
})

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'

t.test('an admin gets the page of the document, with all scripts and styles that it loads', async t => {
  const page = await get('/docs', { accept: BROWSER, ...asAdmin })
  t.equal(page.status, 200)
  const html = await page.text()
  const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)
  t.ok(parts.length >= 5, `the page loads scripts and styles: ${parts.length}`)
  for (const path of parts) t.equal((await get(path, asAdmin)).status, 200, path)
})

t.test('every error for a browser is a page, in both languages, with the form that resolves it', async t => {
  const user = new Client(url)
  await user.signIn('reader', await createUser(app, 'reader'))
  const due = await adminOf(app, 'due')
  await app.db.run(sql => sql`update users set must_change_password = true where username = 'due'`)
  const signIn = ['username', 'password']
  const errors: [path: string, client: Client | undefined, status: number, code: ErrorCode, fields: string[]][] = [
    ['/docs', undefined, 401, 'UNAUTHENTICATED', signIn],
    ['/docs/json', undefined, 401, 'UNAUTHENTICATED', signIn],
    ['/docs', user, 403, 'FORBIDDEN', signIn],
    ['/docs', due, 403, 'PASSWORD_CHANGE_REQUIRED', ['current_password', 'new_password', 'new_password_again']],
    ['/docs/nothing', admin, 404, 'NOT_FOUND', []],
    ['/', undefined, 404, 'NOT_FOUND', []],
    ['/apis', undefined, 404, 'NOT_FOUND', []],
    ['/%zz', undefined, 400, 'BAD_REQUEST', []]
  ]
  for (const [path, client, status, code, fields] of errors) {
    for (const language of ['ko', 'en'] as const) {
      const headers = { accept: BROWSER, 'accept-language': language, cookie: client?.cookie ?? '' }
      const response = await get(path, headers)
      const html = await response.text()
      t.equal(response.status, status, `${path} ${code}`)
      t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
      t.equal(response.headers.get('cache-control'), 'no-store')
      t.match(response.headers.get('content-security-policy'), /^default-src 'none';script-src 'self';/)
      t.ok(html.includes(`<html lang="${language}">`), `${path} is in ${language}`)
      t.ok(html.includes(`<p>${message(code, language)}</p>`), `${path} has the message of ${code}: ${html}`)
      t.strictSame(
        [...html.matchAll(/<input name="(\w+)"/g)].map(([, name]) => name),
        fields,
        `the form of ${code}`
      )
      t.strictSame(
        [...html.matchAll(/<script([^>]*)>([^<]*)/g)].map(([, source, text]) => [source, text]),
        fields.length === 0 ? [] : [[' src="/docs/form.js"', '']],
        'the page has no script'
      )
    }
  }
  const script = await get('/docs/form.js')
  t.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8')
})

t.test('without a database a browser gets an error page', async t => {
  const { url } = await startApp(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', PROBE_PORT: 'off' })
  const cookie = `session=${encodeURIComponent(new Signer(SESSION_SECRET).sign('any id'))}`
  const response = await fetch(`${url}/docs`, { headers: { accept: BROWSER, cookie } })
  t.equal(response.status, 503)
  t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
  t.ok((await response.text()).includes(message('DATABASE_UNAVAILABLE', 'ko')), 'the page has the message of the error')
})

t.test('the API, the probes and other clients get JSON', async t => {
  const requests: [path: string, accept: string][] = [
    ['/api/auth/me', BROWSER],
    ['/api/nothing', BROWSER],
    ['/api?x', BROWSER],
    ['/health/nothing', BROWSER],
    ['/docs', '*/*'],
    ['/docs', ''],
    ['/docs', 'application/json, text/html;q=0.9'],
    ['/docs', 'text/html;q=0, */*'],
    ['/docs', 'text/html2, application/xhtml+xml']
  ]
  for (const [path, accept] of requests) {
    const { headers } = await get(path, { accept })
    t.equal(headers.get('content-type'), 'application/json; charset=utf-8', `${path} ${accept}`)
  }
  for (const accept of ['TEXT/HTML', 'text/html;charset=utf-8;q=0.5, */*;q=0.1']) {
    t.equal((await get('/docs', { accept })).headers.get('content-type'), 'text/html; charset=utf-8', accept)
  }
})

t.test('only /docs may load scripts and styles, and only from its own origin', async t => {
  const policyOf = async (path: string) => (await get(path, asAdmin)).headers.get('content-security-policy') ?? ''
  t.match(await policyOf('/docs'), /^default-src 'none';script-src 'self';/)
  t.not(await policyOf('/api/auth/me'), await policyOf('/docs'))
  t.notMatch(await policyOf('/docs'), /https?:/)
})

t.test('an unknown path is answered with the error envelope', async t => {
  for (const path of ['/docs/nothing', '/docs/static/nothing.js', '/docs/static/..%2f..%2fpackage.json']) {
    const response = await get(path, asAdmin)
    t.equal(response.status, 404, path)
    t.hasStrict(await response.json(), { success: false, code: 'NOT_FOUND' })
  }
  const post = await fetch(`${url}/docs/json`, { method: 'POST', headers: asAdmin })
  t.equal(post.status, 405)
})

t.test('the document is valid OpenAPI 3.1', async t => {
  const { valid, errors } = await new Validator().validate(
    JSON.parse(await (await get('/docs/json', asAdmin)).text()) as Record<string, unknown>
  )
  t.ok(valid, JSON.stringify(errors))
})

const document = await ApiDocument.of(app)

t.test('the document has every route, with a summary and a tag', async t => {
  t.equal(document.json.openapi, '3.1.0')
  t.strictSame([...document.operations.keys()].sort(), routes.filter(route => !route.startsWith('HEAD ')).sort())
  const ids = [...document.operations.values()].map(({ operationId }) => operationId)
  t.equal(new Set(ids).size, ids.length, 'ids are unique')
  for (const [name, operation] of document.operations) {
    t.match(operation, { summary: /\w/, tags: { length: 1, 0: String } }, name)
  }
})

t.test('every route answers OPTIONS with 204 and its methods', async t => {
  const methods = new Map<string, string[]>()
  for (const route of [...routes, 'GET /docs', 'HEAD /docs']) {
    const [method = '', path = ''] = route.split(' ')
    methods.set(path, [...(methods.get(path) ?? ['OPTIONS']), method])
  }
  t.ok(methods.size > 20, `paths: ${methods.size}`)
  for (const [path, allowed] of methods) {
    const { status, headers } = await admin.send('OPTIONS', path.replaceAll(/\{\w+\}/g, '1'))
    t.equal(status, 204, path)
    t.equal(headers.get('allow'), allowed.sort().join(', '), path)
    t.equal(headers.get('cache-control'), 'no-store', path)
  }
})

t.test('a request target in absolute form is answered as its path is, with the session', async t => {
  const statusOf = async (method: string, path: string, body?: string) => {
    const headers = { ...asAdmin, ...(body !== undefined && { 'content-type': 'application/json' }) }
    const sent = request({ host: '127.0.0.1', port: new URL(url).port, method, path, headers }).end(body)
    const [{ statusCode }] = (await once(sent, 'response')) as [IncomingMessage]
    sent.destroy()
    return statusCode
  }
  const credentials = (password: string) => JSON.stringify({ username: 'visitor', password })
  const password = await createUser(app, 'visitor')
  for (const [status, method, path, body] of [
    [200, 'GET', '/api/auth/me'],
    [200, 'GET', '/api/system/audit-log?limit=1'],
    [400, 'GET', '/api/system/audit-log?limit=x'],
    [404, 'GET', '/api/system/nothing'],
    [405, 'POST', '/api/system/health'],
    [200, 'GET', '/docs'],
    [200, 'GET', '/docs/json'],
    [404, 'GET', '/docs/nothing'],
    [401, 'POST', '/api/auth/login', credentials('a wrong password')],
    [200, 'POST', '/api/auth/login', credentials(password)]
  ] as const) {
    t.equal(await statusOf(method, path, body), status, path)
    t.equal(await statusOf(method, `http://service.example${path}`, body), status, `http://service.example${path}`)
  }
})

t.test('every parameter, body and answer has an example that its schema accepts', async t => {
  for (const [name, operation] of document.operations) {
    for (const { name: parameter, schema = {}, example } of operation.parameters ?? []) {
      t.not(example, undefined, `${name} ${parameter}`)
      t.strictSame(document.problems(schema, example), [], `${name} ${parameter}`)
    }
    const answers = Object.entries(operation.responses).map(([status, { content }]) => [status, content] as const)
    for (const [part, content = {}] of [['body', operation.requestBody?.content] as const, ...answers]) {
      for (const { schema = {}, example, examples } of Object.values(content)) {
        const given = examples === undefined ? [example] : Object.values(examples).map(({ value }) => value)
        for (const value of given) {
          t.not(value, undefined, `${name} ${part}`)
          t.strictSame(document.problems(schema, value), [], `${name} ${part}`)
          t.notMatch(JSON.stringify(value), '[]', `${name} ${part}: lists have an element`)
        }
      }
    }
  }
})
