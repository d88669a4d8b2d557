import { Type } from '@sinclair/typebox'

/** A moment as every answer writes it: ISO 8601, UTC, milliseconds. */
export const Timestamp = Type.String({ format: 'date-time', examples: ['2026-11-23T12:00:00.000Z'] })
