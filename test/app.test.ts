import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VERSION } from '../src/app.ts'
import { projectRoot } from './support/service.ts'

t.test('the version that replicas show is the one of the package', async t => {
  t.equal(JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')).version, VERSION)
})
