import { STATUS_CODES } from 'node:http'
import { catalogue, type ErrorCode, errorBody } from '../errors.ts'
import { isProbePath } from '../health/probes.ts'
import { exampleOf, type Schema } from './example.ts'

/** What a route says of itself, as far as its statuses depend on it. */
export interface RouteSchema {
  body?: unknown
  querystring?: unknown
  params?: unknown
  response?: unknown
  security?: readonly unknown[]
}

export interface Operation {
  operationId?: string
  parameters?: { name?: string; schema?: Schema; example?: unknown }[]
  requestBody?: { content: Content }
  responses: Record<string, { description: string; content?: Content }>
}

type Content = Record<string, { schema?: Schema; example?: unknown }>

/** The example of an error status, where the first code of the catalogue is not the one that is met. */
const TELLING: Readonly<Record<number, ErrorCode>> = { 400: 'VALIDATION_FAILED', 503: 'DATABASE_UNAVAILABLE' }

/** The schema of a route with the answers that it shares with others, from hooks and parser, beside its own. */
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
  if (url.startsWith('/api/system/')) statuses.push(403)
  const shared = Object.fromEntries(statuses.map(status => [status, errorAnswer]))
  return { ...schema, response: { ...shared, ...(typeof schema.response === 'object' && schema.response) } }
}

/** Gives an operation its id, and every parameter, body and answer its description and an example. In place. */
export function complete(operation: Operation, method: string, path: string): void {
  operation.operationId = idOf(method, path)
  for (const parameter of operation.parameters ?? []) {
    parameter.example ??= exampleOf(parameter.schema ?? {}, parameter)
  }
  exemplify(operation.requestBody?.content)
  for (const [status, answer] of Object.entries(operation.responses)) {
    answer.description = STATUS_CODES[status] ?? status
    exemplify(answer.content, Number(status))
  }
}

function exemplify(content: Content = {}, status?: number): void {
  for (const media of Object.values(content)) {
    const schema = media.schema ?? {}
    const isError = schema.properties?.success?.const === false
    media.example ??=
      isError && status !== undefined ? errorExample(status) : exampleOf(schema, { whole: status === undefined })
  }
}

function errorExample(status: number): unknown {
  const codes = Object.keys(catalogue) as ErrorCode[]
  const code = TELLING[status] ?? codes.find(code => catalogue[code] === status) ?? 'INTERNAL_ERROR'
  return errorBody(code, 'en')
}

/** `POST /api/system/jobs/{job_id}/pause` is `post_system_jobs_job_id_pause`. */
function idOf(method: string, path: string): string {
  const words = path.replace(/^\/api/, '').match(/[a-z]+/g) ?? []
  return [method.toLowerCase(), ...words].join('_')
}
