import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { projectRoot } from '../support/project.ts'

const read = (file: string) => readFileSync(join(projectRoot, file), 'utf8')

t.test('the changelog has dated versions, and the version of package.json first', async t => {
  const headings = [...read('CHANGELOG.md').matchAll(/^## (.*)$/gm)].map(([, heading = '']) => heading)
  const versions = headings.map(heading => /^\[(\d+\.\d+\.\d+)\] – (\d{4}-\d\d-\d\d|unreleased)$/.exec(heading))
  t.ok(versions.length > 1, `versions: ${versions.length}`)
  for (const [i, heading] of headings.entries()) t.ok(versions[i], heading)
  t.equal(versions[0]?.[1], JSON.parse(read('package.json')).version)
  const dates = versions.slice(1).map(version => version?.[2] ?? '')
  t.notOk(dates.includes('unreleased'), 'only the newest may be unreleased')
  t.strictSame(dates, dates.toSorted().reverse())
})

t.test('Kubernetes runs the version of package.json', async t => {
  const { images } = parse(read('deploy/kubernetes/kustomization.yaml')) as { images: { newTag: string }[] }
  t.strictSame(
    images.map(({ newTag }) => newTag),
    [JSON.parse(read('package.json')).version]
  )
})
