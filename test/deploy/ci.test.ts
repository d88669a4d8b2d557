import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { projectRoot } from '../support/service.ts'

const read = (path: string) => readFileSync(join(projectRoot, path), 'utf8')

t.test('CI and test:nodes use the same versions of Node, from the oldest that package.json allows', async t => {
  const { jobs } = parse(read('.github/workflows/ci.yml')) as {
    jobs: { ci: { strategy: { matrix: { node: string[] } }; steps: { run?: string }[] } }
  }
  const { node } = jobs.ci.strategy.matrix
  const [, here = ''] = /SUPPORTED = (\[.*\])/.exec(read('scripts/test-nodes.js')) ?? []
  t.strictSame(parse(here), node)
  t.equal(`>=${node[0]}`, JSON.parse(read('package.json')).engines.node)
  t.equal(jobs.ci.steps.at(-1)?.run, 'bash .ci/run')
})

t.test('CI installs the programs that the tests use', async t => {
  const [, tools = ''] = /^tools=\((.*)\)$/m.exec(read('.ci/run')) ?? []
  const workflow = read('.github/workflows/ci.yml')
  t.equal(/--no-install-recommends (.*)$/m.exec(workflow)?.[1], tools)
  const missing = (text: string, install: string) =>
    [...text.matchAll(/^ *(command -v \w+ >\/dev\/null \|\|) (.*)$/gm)].map(
      ([, absent, then = '']) => `${absent} ${then.replace(install, '').replace(')', '')}`
    )
  const here = missing(read('.ci/run'), 'tools+=(')
  t.equal(here.length, 2)
  t.strictSame(missing(workflow, 'sudo apt-get install -y -qq --no-install-recommends '), here)
})
