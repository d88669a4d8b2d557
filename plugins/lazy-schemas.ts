import SerializerSelector from '@fastify/fast-json-stringify-compiler'
import Ajv, { type ErrorObject } from 'ajv'
import formats from 'ajv-formats'
import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'

/** A number in a query or a path, written in the one way. */
const INTEGER = /^(?:0|-?[1-9]\d*)$/

/**
 * Compiles each schema of the scope when it is first used. Compiling all of them at the start took half of the time to
 * the first answer and 20 MB, for routes that an admin may never use.
 *
 * JSON bodies have types, so their values are neither coerced nor removed; queries are text, so decimal integers are
 * parsed.
 */
async function lazySchemas(api: FastifyInstance) {
  const body = once(() => formats.default(new Ajv.default({ removeAdditional: false, coerceTypes: false })))
  // With strict numbers, 1e309 would become infinity and pass every bound.
  const text = once(() =>
    formats.default(new Ajv.default({ removeAdditional: false, coerceTypes: true, strictNumbers: false }))
  )
  const serializer = once(() => SerializerSelector()({}, {}))

  api.setValidatorCompiler<FastifySchema>(({ schema, httpPart }) => {
    const compiled = once(() => (httpPart === 'body' ? body() : text()).compile(schema))
    const integers = httpPart === 'body' ? [] : integersOf(schema)
    // Fastify reads the errors of the last call from this property.
    const validate: { (data: unknown): boolean; errors?: ErrorObject[] | null } = data => {
      // Ajv converts with Number(), which also reads 1e2, 0x10 and spaces.
      validate.errors = integers.filter(name => isOtherNumber(data, name)).map(notAnInteger)
      if (validate.errors.length > 0) return false
      const valid = compiled()(data)
      validate.errors = compiled().errors ?? null
      return valid
    }
    return validate
  })

  api.setSerializerCompiler(({ httpStatus = '', ...route }) => {
    const compiled = once(() => serializer()({ httpStatus, ...route }))
    return data => compiled()(data)
  })
}

/** The numbers among the parts of a query or a path. */
function integersOf(schema: unknown): string[] {
  const properties: unknown = typeof schema === 'object' && schema !== null && Reflect.get(schema, 'properties')
  return Object.entries(properties || {})
    .filter(([, { type }]) => type === 'integer' || type === 'number')
    .map(([name]) => name)
}

function isOtherNumber(data: unknown, name: string): boolean {
  const text: unknown = typeof data === 'object' && data !== null ? Reflect.get(data, name) : undefined
  return typeof text === 'string' && !INTEGER.test(text)
}

function notAnInteger(name: string): ErrorObject {
  return { keyword: 'type', instancePath: `/${name}`, schemaPath: '', params: { type: 'integer' } }
}

/** Returns a function that calls `make` once and returns its value. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

export default fp(lazySchemas, { name: 'lazy-schemas', fastify: '5.x' })
