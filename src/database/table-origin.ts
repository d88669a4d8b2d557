import type { TransactionSql } from './client.ts'
import { LOCK_ORDER } from './lock-order.ts'
import { SchemaError } from './schema.ts'

const RECORD = 'schema_version'
/** The name of the first migration of this service, in the record of migrations. */
const FIRST_MIGRATION = 'replicas'

const TABLES = LOCK_ORDER.flatMap(({ tables }) => tables).filter(name => name !== RECORD)

/**
 * Verifies, before anything is written, that no table of the schema is one of another system with a name of ours: the
 * record of migrations is that of this service, or there is none and no such table either.
 * @throws {SchemaError} naming the table
 */
export async function assertOwnTables(tx: TransactionSql): Promise<void> {
  const rows = await tx<{ name: string; is_record: boolean }[]>`
    select relname as name, 2 = (
        select count(*) from pg_attribute where attrelid = pg_class.oid and attname in ('version', 'name')
      ) as is_record
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = current_schema() and relkind in ('r', 'p', 'v', 'm', 'f')
      and relname in (select jsonb_array_elements_text(${JSON.stringify([RECORD, ...TABLES])}::text::jsonb))
    order by relname <> ${RECORD}, relname`
  const [first] = rows
  if (first === undefined) return
  if (first.name !== RECORD) throw foreign(first.name)
  if (!first.is_record) throw foreign(RECORD)
  const recorded = await tx<{ name: string | null }[]>`
    select name::text from schema_version where version::text = '1'`
  // Without a row no migration was applied yet: then no other table may be there.
  const other = recorded.length === 0 ? rows[1]?.name : recorded[0]?.name === FIRST_MIGRATION ? undefined : RECORD
  if (other !== undefined) throw foreign(other)
}

function foreign(table: string): SchemaError {
  return new SchemaError(
    `the table ${table} was not made by this service: give the service a database or a schema of its own`
  )
}
