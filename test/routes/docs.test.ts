import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { ApiDocument } from '../support/api-document.ts'
import { startApp, untilStatus } from '../support/app.ts'
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

t.test('a browser gets a sign-in page, and the document after the sign-in', async t => {
  const accept = 'text/html,application/xhtml+xml,*/*;q=0.8'
  const asked = await get('/docs', { accept })
  t.equal(asked.status, 401)
  t.match(await asked.text(), /<input name="username"[\s\S]*<script src="\/docs\/sign-in\.js">/)
  t.match(await (await get('/docs', { accept, 'accept-language': 'ko' })).text(), '비밀번호')
  const script = await get('/docs/sign-in.js')
  t.equal(script.status, 200)
  t.match(script.headers.get('content-type'), 'text/javascript')

  const page = await get('/docs', { accept, ...asAdmin })
  t.equal(page.status, 200)
  const html = await page.text()
  const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)
  t.ok(parts.length >= 5, `the page loads scripts and styles: ${parts.length}`)
  for (const path of parts) t.equal((await get(path, asAdmin)).status, 200, path)
})

t.test('only /docs may load scripts and styles, and only its own', async t => {
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

t.test('every parameter, body and answer has an example that its schema accepts', async t => {
  for (const [name, operation] of document.operations) {
    for (const { name: parameter, schema = {}, example } of operation.parameters ?? []) {
      t.not(example, undefined, `${name} ${parameter}`)
      t.strictSame(document.problems(schema, example), [], `${name} ${parameter}`)
    }
    const answers = Object.entries(operation.responses).map(([status, { content }]) => [status, content] as const)
    for (const [part, content = {}] of [['body', operation.requestBody?.content] as const, ...answers]) {
      for (const { schema = {}, example } of Object.values(content)) {
        t.not(example, undefined, `${name} ${part}`)
        t.strictSame(document.problems(schema, example), [], `${name} ${part}`)
        t.notMatch(JSON.stringify(example), '[]', `${name} ${part}: lists have an element`)
      }
    }
  }
})
