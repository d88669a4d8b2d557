import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'
import { projectRoot } from '../support/project.ts'
import { schemaDocument } from '../support/schema-document.ts'

t.test('docs/schema.md is what the database generates', async t => {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const generated = await database.run(schemaDocument)
  t.equal(readFileSync(join(projectRoot, 'docs/schema.md'), 'utf8'), generated, 'npm run docs:schema writes the file')
})
