import ajv2020, { type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { FastifyInstance } from 'fastify'
import type { Operation, Schema } from '../../src/openapi/document.ts'

/** The API document of a service, as returned by `/docs/json`, and a validator for its schemas. */
export class ApiDocument {
  readonly json: { openapi: string; paths: Record<string, Record<string, Operation>> }
  /** Each operation by its name, `GET /api/system/job-runs/{run_id}`. */
  readonly operations: ReadonlyMap<string, Operation>
  readonly #ajv = new ajv2020.default({ strict: false, allErrors: true })
  readonly #validators = new Map<Schema, ValidateFunction>()

  private constructor(json: ApiDocument['json']) {
    this.json = json
    formats.default(this.#ajv)
    this.operations = new Map(
      Object.entries(json.paths).flatMap(([path, item]) =>
        Object.entries(item).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const)
      )
    )
  }

  static async of(app: FastifyInstance): Promise<ApiDocument> {
    return new ApiDocument((await app.openapi.page('/docs/json')).json())
  }

  /** The documented statuses of an operation with the schema of each answer. @throws {Error} for an unknown operation */
  answers(name: string): Map<number, Schema> {
    const operation = this.operations.get(name)
    if (!operation) throw new Error(`${name} is not documented`)
    return new Map(
      Object.entries(operation.responses).map(([status, { content }]) => [
        Number(status),
        content?.['application/json']?.schema ?? {}
      ])
    )
  }

  /** The validation errors of a value; empty when it matches the schema. */
  problems(schema: Schema, value: unknown): ErrorObject[] {
    const validate = this.#validators.get(schema) ?? this.#ajv.compile(schema)
    this.#validators.set(schema, validate)
    return validate(value) ? [] : (validate.errors ?? [])
  }
}
