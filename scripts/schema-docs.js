// Writes docs/schema.md from the schema that the migrations make, on a Postgres of its own: npm run docs:schema
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { migrate } from '../build/src/database/migrate.js'
import { openDatabase } from '../build/test/support/migrated-database.js'
import { startTestPostgres } from '../build/test/support/postgres.js'
import { schemaDocument } from '../build/test/support/schema-document.js'

const ends = []
try {
  const { url } = await startTestPostgres({ teardown: end => ends.push(end) })
  const database = openDatabase(url)
  ends.push(() => database.close())
  await migrate(database)
  writeFileSync(join(dirname(import.meta.dirname), 'docs/schema.md'), await database.run(schemaDocument))
} finally {
  for (const end of ends.reverse()) await end()
}
