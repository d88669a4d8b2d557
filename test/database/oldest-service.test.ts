import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import manifest from '../../package.json' with { type: 'json' }
import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import { OLDEST_SERVICE } from '../../src/database/oldest-service.ts'
import { assertSchema, SchemaError } from '../../src/database/schema.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'
import { projectRoot } from '../support/project.ts'

const MIGRATIONS = readdirSync(join(projectRoot, 'src/database/migrations')).filter(name => name.endsWith('.sql'))
/** A version as a number with the same order: each part has three digits. */
const order = (version: string) =>
  Number(
    version
      .split('.')
      .map(part => part.padStart(3, '0'))
      .join('')
  )

async function migrated(t: Test) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const change = (statement: string) => database.run(sql => sql.unsafe(statement))
  const declare = (text: string) => change(`comment on table schema_version is '${text}'`)
  const recorded = async () => {
    const [row] = await database.run(
      sql =>
        sql<{ comment: string | null }[]>`select obj_description('schema_version'::regclass, 'pg_class') as comment`
    )
    return row?.comment
  }
  return { url, database, change, declare, recorded }
}

/** The message about an incompatible schema; null if it is compatible. */
async function differenceOf(database: Database): Promise<string | null> {
  try {
    await assertSchema(database)
    return null
  } catch (err) {
    return err instanceof SchemaError ? err.message : String(err)
  }
}

const tooNew = (version: string) =>
  `the schema does not fit: it is for version ${version} of the service or later, and this is ${manifest.version}`

t.test('every migration declares the oldest service that works after it', async t => {
  t.strictSame(Object.keys(OLDEST_SERVICE), MIGRATIONS.sort(), 'src/database/oldest-service.ts lists every migration')
  const versions = Object.values(OLDEST_SERVICE)
  for (const version of versions) t.match(version, /^\d+\.\d+\.\d+$/)
  t.strictSame(
    versions,
    [...versions].sort((a, b) => order(a) - order(b)),
    'the versions never decrease'
  )
  const newest = versions.at(-1) ?? ''
  t.ok(order(newest) <= order(manifest.version), `this is ${manifest.version}, and the newest is for ${newest}`)
})

t.test('the migrations record the declaration of the newest one, again after it was lost', async t => {
  const { database, change, declare, recorded } = await migrated(t)
  const newest = `oldest-service: ${Object.values(OLDEST_SERVICE).at(-1)}`
  t.equal(await recorded(), newest)
  await change('comment on table schema_version is null')
  t.strictSame(await migrate(database), [])
  t.equal(await recorded(), newest)
  for (const [before, after] of [
    ['oldest-service: 0.0.9', newest],
    ['another comment', newest],
    ['oldest-service: 99.0.0', 'oldest-service: 99.0.0']
  ] as const) {
    await declare(before)
    t.strictSame(await migrate(database), [])
    t.equal(await recorded(), after, before)
  }
})

t.test('a role that does not own the table of versions starts on a schema without a declaration', async t => {
  const { url, change, recorded } = await migrated(t)
  await change('comment on table schema_version is null')
  await change(`alter database ${new URL(url).pathname.slice(1)} set role = pg_read_all_data`)
  const other = openDatabase(url)
  t.teardown(() => other.close(0))
  t.strictSame(await migrate(other), [])
  t.equal(await recorded(), null)
})

t.test('a schema for later versions only is incompatible, and compatible again without the declaration', async t => {
  const { database, declare } = await migrated(t)
  const [major = 0, minor = 0, patch = 0] = manifest.version.split('.').map(Number)
  for (const later of [`${major}.${minor}.${patch + 1}`, `${major}.${minor + 10}.0`, `${major + 10}.0.0`]) {
    await declare(`oldest-service: ${later}`)
    t.equal(await differenceOf(database), tooNew(later))
  }
  for (const fits of [`oldest-service: ${manifest.version}`, 'oldest-service: 0.0.99', 'another comment', '']) {
    await declare(fits)
    t.equal(await differenceOf(database), null, fits)
  }
})

t.test('a schema that is too new is reported before a missing column', async t => {
  const { database, change, declare } = await migrated(t)
  await change('alter table users drop column is_admin')
  const later = '99.0.0'
  await declare(`oldest-service: ${later}`)
  t.equal(await differenceOf(database), tooNew(later))
})

t.test('a newer schema that allows this version is not changed, and is compatible', async t => {
  const { database, change, declare, recorded } = await migrated(t)
  await change("insert into schema_version (version, name, md5) values (999, 'later', 'a checksum')")
  await change('create table later (id int); alter table users add column later text')
  await declare(`oldest-service: ${manifest.version}`)
  t.strictSame(await migrate(database), [])
  t.equal(await differenceOf(database), null)
  t.equal(await recorded(), `oldest-service: ${manifest.version}`)
  const [row] = await database.run(
    sql => sql<{ version: number }[]>`select max(version)::int as version from schema_version`
  )
  t.equal(row?.version, 999)
})
