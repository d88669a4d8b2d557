/** Arbitrary requests from the schemas of the routes: valid values, bounds, and invalid values. */
import type { TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import { codePoint } from './code-point.ts'

/** Texts that often break software. */
export const HOSTILE = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\u202e\u200b',
  'İ',
  '💣'.repeat(40),
  "'; drop table users; --",
  '{{7*7}}',
  '%00%0a%0d',
  '../../../etc/passwd',
  '__proto__',
  'constructor',
  '1e309',
  '-0',
  '9007199254740993',
  '\r\nset-cookie: a=b',
  'x'.repeat(5_000)
] as const

const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown[]>(...HOSTILE, null, true, 0, -1, 1.5, 2 ** 53, -(2 ** 63), [], {}, [[]], [null], { a: {} }),
  fc.jsonValue({ maxDepth: 3 })
)

/** Values that a schema allows, including its bounds. */
export function allowed(schema: TSchema): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum)
  if (Array.isArray(schema.anyOf)) return fc.oneof(...schema.anyOf.map(one => allowed(one)))
  switch (schema.type) {
    case 'object':
      return allowedObject(schema)
    case 'array':
      return fc.array(allowed(schema.items), { maxLength: 3 })
    case 'string':
      return allowedText(schema)
    case 'integer': {
      const { minimum: min = -(2 ** 31), maximum: max = 2 ** 31 } = schema
      return fc.oneof(fc.constantFrom(min, max), fc.integer({ min, max }))
    }
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    default:
      throw new Error(`no values for a schema of type ${String(schema.type)}`)
  }
}

/** Valid values of a schema in which one part is changed, removed or added. */
export function refused(schema: TSchema): fc.Arbitrary<unknown> {
  const names = Object.keys(schema.properties ?? {})
  const invalidValues = fc
    .tuple(allowed(schema), fc.constantFrom(...names, 'unknown', '__proto__'), fc.option(anything, { nil: undefined }))
    .map(([value, name, wrong]) =>
      typeof value === 'object' && value !== null
        ? Object.fromEntries([...Object.entries(value), [name, wrong]])
        : wrong
    )
  return fc.oneof({ weight: 4, arbitrary: invalidValues }, anything)
}

function allowedObject(schema: TSchema): fc.Arbitrary<unknown> {
  const requiredKeys: string[] = schema.required ?? []
  const entries = Object.entries<TSchema>(schema.properties ?? {}).map(([name, one]) => [name, allowed(one)] as const)
  return fc.record<Record<string, unknown>>(Object.fromEntries(entries), { requiredKeys })
}

function allowedText(schema: TSchema): fc.Arbitrary<string> {
  const { minLength = 0, maxLength = 64, pattern, format } = schema
  if (format === 'uuid') return fc.uuid()
  if (format === 'date') {
    return fc
      .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
      .map(date => date.toISOString().slice(0, 10))
  }
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern))
  const edges = [minLength, maxLength].map(length =>
    fc.string({ minLength: length, maxLength: length, unit: codePoint })
  )
  return fc.oneof(...edges, fc.string({ minLength, maxLength, unit: codePoint }))
}
