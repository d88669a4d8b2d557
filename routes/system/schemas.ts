// @FEAT:scheduler @COMP:route @TYPE:helper
import { type TSchema, Type } from '@sinclair/typebox'
import { ServiceError } from '../../src/errors.ts'
import { type Language, message } from '../../src/messages.ts'
import { ErrorAnswer } from '../error-answer.ts'

export const closed = { additionalProperties: false }

export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** Why an admin does something, in the admin's words. */
export const Reason = Type.String({ minLength: 1, maxLength: 500 })

/** The error answers of a route, by status. */
export function errors<S extends number>(...statuses: S[]): Record<S, typeof ErrorAnswer> {
  return Object.fromEntries(statuses.map(status => [status, ErrorAnswer])) as Record<S, typeof ErrorAnswer>
}

/** A validation error about a field of the body that the schema alone cannot see. */
export function refuse(field: string, language: Language): ServiceError {
  const details = [{ field: `/body/${field}`, rule: 'other', message: message('rule.other', language) }]
  return new ServiceError('VALIDATION_FAILED', { extra: { details } })
}
