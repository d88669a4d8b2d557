import type { Database } from './database.ts'
import { SCHEMA_DIFFERENCE } from './needed-schema.ts'

/** This version cannot work on the schema. The message names the first difference. */
export class SchemaError extends Error {
  override name = 'SchemaError'
}

/**
 * Compares the schema with what this version needs, in one statement that reads catalogues only.
 * @throws {SchemaError} when the schema is too new, or with the first table or column that is missing or of another type
 * @throws {DatabaseUnavailableError}
 */
export async function assertSchema(database: Database): Promise<void> {
  const [row] = await database.run(sql =>
    sql.unsafe<{ difference: string | null }[]>(`select ${SCHEMA_DIFFERENCE} as difference`)
  )
  if (row && row.difference !== null) throw new SchemaError(`the schema does not fit: ${row.difference}`)
}
