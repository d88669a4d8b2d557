/** docs/schema.md, generated from the catalogue of a migrated database. */
import type { Sql } from '../../src/database/client.ts'

const HEAD = `# Schema

Every table of the service, with its columns, keys and checks. \`npm run docs:schema\` generates this file from the database. The texts are the comments in the database: \`psql\` shows them with \`\\d+ orders\`. [Order entry](order-entry.md) describes what the order-entry side writes and reads, [Trading values](trading.md) what the numbers mean.

- \`numeric\` amounts are exact. Each column states its unit or currency.
- A column of a table that the order-entry side writes is mandatory for it if its text says so.
- Columns are in the order of the table. A later version adds columns, so name the columns in statements.
`

interface Table {
  name: string
  comment: string | null
  columns: { name: string; type: string; nullable: boolean; default: string | null; comment: string | null }[]
  /** Keys and checks, as the database prints them. */
  constraints: string[] | null
}

interface DatabaseFunction {
  signature: string
  result: string
  comment: string
}

/** The text of docs/schema.md. */
export async function schemaDocument(sql: Sql): Promise<string> {
  const tables = await tablesOf(sql)
  const functions = await functionsOf(sql)
  const contents = tables.map(({ name, comment }) => `| [${name}](#${name}) | ${firstSentence(comment ?? '')} |`)
  return [
    HEAD,
    ['| table | contains |', '|---|---|', ...contents, ''].join('\n'),
    ...tables.map(section),
    ['## Functions', '', ...functions.map(line), ''].join('\n')
  ].join('\n')
}

/** Tables and views, by name. */
async function tablesOf(sql: Sql): Promise<Table[]> {
  return await sql<Table[]>`
    select relname as name, obj_description(c.oid, 'pg_class') as comment, (
      select json_agg(json_build_object(
        'name', attname, 'type', format_type(atttypid, atttypmod), 'nullable', not attnotnull,
        'default', case when attidentity = 'a' then 'identity' when attgenerated <> '' then 'generated'
          else pg_get_expr(adbin, adrelid, true) end,
        'comment', col_description(c.oid, attnum)
      ) order by attnum)
      from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
      where attrelid = c.oid and attnum > 0 and not attisdropped
    ) as columns, (
      select json_agg(text order by kind, text) from (
        select position(contype in 'pufc') as kind, pg_get_constraintdef(oid, true) as text
        from pg_constraint where conrelid = c.oid and contype in ('p', 'u', 'f', 'c')
        union all
        select 2, regexp_replace(pg_get_indexdef(indexrelid), '^CREATE UNIQUE INDEX .* USING btree ', 'UNIQUE ')
        from pg_index where indrelid = c.oid and indisunique
          and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))
      ) defined
    ) as constraints
    from pg_class c
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
    order by relname collate "C"`
}

/** Functions with a comment. */
async function functionsOf(sql: Sql): Promise<DatabaseFunction[]> {
  return await sql<DatabaseFunction[]>`
    select oid::regprocedure::text as signature, pg_get_function_result(oid) as result,
      obj_description(oid, 'pg_proc') as comment
    from pg_proc
    where pronamespace = 'public'::regnamespace and obj_description(oid, 'pg_proc') is not null
    order by oid::regprocedure::text collate "C"`
}

function section({ name, comment, columns, constraints }: Table): string {
  const rows = columns.map(
    column =>
      `| \`${column.name}\` | ${shortType(column.type)} | ${column.nullable ? 'null' : ''} | ${column.default === null ? '' : code(column.default)} | ${cell(column.comment ?? '')} |`
  )
  const keys = (constraints ?? []).map(text => `- ${code(text)}`)
  return [
    `## ${name}`,
    '',
    comment ?? '',
    '',
    ...['| column | type | null | default | meaning |', '|---|---|---|---|---|', ...rows, ''],
    ...(keys.length === 0 ? [] : [...keys, ''])
  ].join('\n')
}

function line({ signature, result, comment }: DatabaseFunction): string {
  return `- \`${shortType(signature)}\` → \`${shortType(result)}\`: ${comment}`
}

const shortType = (text: string) => text.replaceAll('timestamp with time zone', 'timestamptz')

/** An expression as code, with lists as they are written in migrations. */
function code(expression: string): string {
  const short = shortType(expression)
    .replace(/ = ANY \(ARRAY\[(.*?)\]\)/g, ' IN ($1)')
    .replaceAll(/::(text|timestamptz|jsonb|numeric)\b/g, '')
  return `\`${cell(short)}\``
}

const cell = (text: string) => text.replaceAll('|', '\\|')

function firstSentence(text: string): string {
  const [first = text] = /^.*?[.:](?= |$)/.exec(text) ?? []
  return cell(first.replace(/[.:]$/, ''))
}
