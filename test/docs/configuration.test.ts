import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configTable } from '../../src/config-table.ts'
import { projectRoot } from '../support/project.ts'

t.test('docs/configuration.md documents every setting with its default and bounds', async t => {
  const document = readFileSync(join(projectRoot, 'docs/configuration.md'), 'utf8')
  const [, table = ''] = /<!-- config -->\n([\s\S]*)<!-- \/config -->/.exec(document) ?? []
  t.equal(table, configTable(), 'node scripts/config-table.js writes the table')
})
