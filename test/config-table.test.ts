import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configTable } from '../src/config-table.ts'
import { projectRoot } from './support/service.ts'

t.test('README.md documents every setting with its default and bounds', async t => {
  const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8')
  t.ok(readme.includes(configTable()), 'node scripts/config-table.js writes the table')
})
