import { STATUS_CODES } from 'node:http'
import { catalogue, type ErrorCode, errorBody } from '../errors.ts'
import { isProbePath } from '../health/probes.ts'

/** A JSON schema, as far as the document depends on it. */
export interface Schema {
  type?: string
  const?: unknown
  examples?: readonly unknown[]
  properties?: Readonly<Record<string, Schema>>
}

/** The schema of a route, as far as its statuses depend on it. */
export interface RouteSchema {
  body?: unknown
  querystring?: unknown
  params?: unknown
  response?: unknown
  security?: readonly unknown[]
}

export interface Operation {
  operationId?: string
  parameters?: { name: string; schema?: Schema; example?: unknown }[]
  requestBody?: { content: Content }
  responses: Record<string, { description: string; content?: Content }>
}

type Content = Record<string, { schema?: Schema; example?: unknown; examples?: Record<string, { value: unknown }> }>

/** The code in the example of a status, where the first one of the catalogue is not the most common. */
const COMMON_CODES: Readonly<Record<number, ErrorCode>> = { 400: 'VALIDATION_FAILED', 503: 'DATABASE_UNAVAILABLE' }

/** Adds to the schema of a route the answers of the hooks and the body parser. Its own answers have precedence. */
export function withSharedAnswers<T extends RouteSchema>(
  route: { method: string; url: string; schema: T },
  errorAnswer: unknown
): T {
  const { method, url, schema } = route
  if (isProbePath(url)) return schema
  const statuses = [500, 503]
  if (schema.body || schema.querystring || schema.params) statuses.push(400)
  if (method !== 'GET') statuses.push(400, 403, 413, 415)
  if (schema.security?.length !== 0) statuses.push(401)
  // Without schemes of its own a route accepts tokens, too.
  if (schema.security === undefined) statuses.push(429)
  if (/^\/api\/(system|trading)\//.test(url)) statuses.push(403)
  const shared = Object.fromEntries(statuses.map(status => [status, errorAnswer]))
  return { ...schema, response: { ...shared, ...(typeof schema.response === 'object' && schema.response) } }
}

/**
 * Completes an operation in place: its id; the description of each answer; the example of each parameter, body and
 * answer, which is the first one of its schema. The example of an error answer is made from the catalogue.
 */
export function complete(operation: Operation, method: string, path: string): void {
  operation.operationId = idOf(method, path)
  for (const parameter of operation.parameters ?? []) {
    parameter.example ??= parameter.schema?.examples?.[0]
  }
  addExamples(operation.requestBody?.content, ({ examples }) => examples?.[0])
  for (const [status, answer] of Object.entries(operation.responses)) {
    answer.description = STATUS_CODES[status] ?? status
    addExamples(answer.content, schema => (isError(schema) ? errorExample(Number(status)) : schema.examples?.[0]))
  }
}

function addExamples(content: Content = {}, exampleOf: (schema: Schema) => unknown): void {
  for (const media of Object.values(content)) {
    // OpenAPI allows one of the two.
    if (media.examples === undefined) media.example ??= exampleOf(media.schema ?? {})
  }
}

function isError({ properties }: Schema): boolean {
  return properties?.success?.const === false
}

function errorExample(status: number): unknown {
  const codes = Object.keys(catalogue) as ErrorCode[]
  const code = COMMON_CODES[status] ?? codes.find(code => catalogue[code] === status) ?? 'INTERNAL_ERROR'
  return errorBody(code, 'en')
}

/** `POST /api/system/jobs/{job_id}/pause` is `post_system_jobs_job_id_pause`. */
function idOf(method: string, path: string): string {
  const words = path.replace(/^\/api/, '').match(/[a-z]+/g) ?? []
  return [method.toLowerCase(), ...words].join('_')
}
