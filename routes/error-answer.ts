import { Type } from '@sinclair/typebox'

/** The envelope of every error. */
export const ErrorAnswer = Type.Object(
  {
    success: Type.Literal(false),
    error: Type.String({ description: 'a sentence, Korean unless English is asked for' }),
    code: Type.String({ description: 'a stable code' }),
    details: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), rule: Type.String(), message: Type.String() }))
    )
  },
  { additionalProperties: true }
)
