// Compares docs/api.md with the OpenAPI document: its routes, its requests, its answers.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { catalogue } from '../../src/errors.ts'
import type { Schema } from '../../src/openapi/document.ts'
import { ApiDocument } from '../support/api-document.ts'
import { startApp } from '../support/app.ts'
import { freePort } from '../support/free-port.ts'
import { parseHttpie } from '../support/httpie.ts'
import { projectRoot } from '../support/project.ts'

const text = readFileSync(join(projectRoot, 'docs/api.md'), 'utf8')
/** The text below the heading of each route, by the name of its operation. */
const sections = new Map(
  text
    .split(/^(?=##+ )/m)
    .map(section => [/^### ([A-Z]+ \/\S*)\n/.exec(section)?.[1], section] as const)
    .filter((entry): entry is [string, string] => entry[0] !== undefined)
)
/** Without a database: the document is made from the routes. */
const DATABASE_URL = `postgres://nobody@127.0.0.1:${await freePort()}/none`
const { app } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off' })
const document = await ApiDocument.of(app)

const blocksOf = (section: string, language: string) =>
  [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, block = '']) => block)

/** A copy of a schema that accepts no field beyond those that it names. */
function closed(schema: Schema): Schema {
  return JSON.parse(JSON.stringify(schema), (_key, value) =>
    value?.type === 'object' && value.properties && value.additionalProperties === undefined
      ? { ...value, additionalProperties: false }
      : value
  )
}

t.test('docs/api.md has every route, and no other', async t => {
  t.strictSame([...sections.keys()].sort(), [...document.operations.keys()].sort())
})

t.test('the request of every route is valid', async t => {
  for (const [name, operation] of document.operations) {
    const lines = blocksOf(sections.get(name) ?? '', 'sh')
    t.equal(lines.length, 1, `${name} has one request`)
    const { method, path, query, body } = parseHttpie(lines[0] ?? '')
    const pattern = new RegExp(`^${name.replace(/\{\w+\}/g, '[^/]+')}$`)
    t.match(`${method} ${path}`, pattern, name)
    const parameters = new Map(operation.parameters?.map(({ name = '', schema = {} }) => [name, schema]))
    for (const [key, value] of Object.entries(query)) {
      const schema = parameters.get(key)
      t.ok(schema, `${name} has the parameter ${key}`)
      const typed = schema?.type === 'integer' ? Number(value) : value
      t.strictSame(document.problems(schema ?? {}, typed), [], `${name} ${key}`)
    }
    const schema = operation.requestBody?.content['application/json']?.schema
    t.equal(body !== undefined && schema === undefined, false, `${name} accepts a body`)
    t.strictSame(document.problems(schema ?? {}, body ?? null), [], name)
  }
})

t.test('the answer of every route matches its schema, without fields that the schema does not have', async t => {
  for (const name of document.operations.keys()) {
    const answers = blocksOf(sections.get(name) ?? '', 'json')
    t.equal(answers.length, 1, `${name} has one answer`)
    const schema = closed(document.answers(name).get(200) ?? {})
    t.strictSame(document.problems(schema, JSON.parse(answers[0] ?? 'null')), [], name)
  }
})

t.test('an answer with a missing or a surplus field does not match', async t => {
  const schema = closed(document.answers('GET /health/live').get(200) ?? {})
  const answer = { status: 'alive', timestamp: '2026-11-25T18:19:38.954Z' }
  t.strictSame(document.problems(schema, answer), [])
  t.equal(document.problems(schema, { ...answer, surplus: 1 }).length, 1)
  t.equal(document.problems(schema, { status: 'alive' }).length, 1)
})

t.test('every code in the table of errors has that status', async t => {
  const statuses = new Map<string, number>(Object.entries(catalogue))
  const rows = [...text.matchAll(/^\| ([\d, ]+) \| (`.*`) \|/gm)]
  t.ok(rows.length > 8, `rows: ${rows.length}`)
  for (const [, status = '', codes = ''] of rows) {
    for (const [, code = ''] of codes.matchAll(/`([A-Z_]+)`/g)) {
      t.ok(status.split(', ').includes(String(statuses.get(code))), `${code} is ${status}`)
    }
  }
})
