import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { minVersion, satisfies } from 'semver'
import t from 'tap'
import { projectRoot } from './support/project.ts'

interface Lock {
  packages: Record<string, { version?: string; engines?: { node?: string } }>
}

t.test('every locked package supports the oldest supported Node', async t => {
  const { packages }: Lock = JSON.parse(readFileSync(join(projectRoot, 'package-lock.json'), 'utf8'))
  const oldest = minVersion(packages['']?.engines?.node ?? '')?.version ?? ''
  t.equal(oldest, '20.19.0')
  const unsupported = Object.entries(packages).flatMap(([path, { engines }]) =>
    engines?.node === undefined || satisfies(oldest, engines.node) ? [] : `${path}: ${engines.node}`
  )
  t.strictSame(unsupported, [])
})
