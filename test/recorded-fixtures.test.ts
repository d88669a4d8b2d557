import { readdirSync } from 'node:fs'
import t from 'tap'
import { fixturesMissing } from './exchanges/fixtures.ts'

t.test('the recorded fixtures are complete', { skip: fixturesMissing }, async t => {
  const folders = readdirSync('../shared/fixtures', { withFileTypes: true }).filter(entry => entry.isDirectory())
  t.strictSame(folders.map(({ name }) => name).sort(), [
    'exchange',
    'metrics',
    'order_ids',
    'pnl',
    'signing',
    'telegram'
  ])
})
