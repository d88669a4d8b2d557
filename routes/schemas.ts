// @FEAT:health-monitoring @COMP:route @TYPE:helper
import { type TSchema, Type } from '@sinclair/typebox'

/** Option of an object schema: other fields are rejected in a body, and left out of an answer. */
export const closed = { additionalProperties: false }

/** The schema or JSON null. */
export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** A point in time: ISO 8601, UTC, milliseconds. */
export const Timestamp = Type.String({ format: 'date-time', examples: ['2026-11-23T12:00:00.000Z'] })

/** A reason that an admin enters. */
export const Reason = Type.String({ minLength: 1, maxLength: 500 })

/** The envelope of every error. */
export const ErrorAnswer = Type.Object(
  {
    success: Type.Literal(false),
    error: Type.String({ description: 'a sentence in Korean, or in English when `Accept-Language` prefers it' }),
    code: Type.String({ description: 'a stable code' }),
    details: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), rule: Type.String(), message: Type.String() }))
    )
  },
  { additionalProperties: true }
)

/** The error answers of a route, by status. */
export function errors<S extends number>(...statuses: S[]): Record<S, typeof ErrorAnswer> {
  return Object.fromEntries(statuses.map(status => [status, ErrorAnswer])) as Record<S, typeof ErrorAnswer>
}
