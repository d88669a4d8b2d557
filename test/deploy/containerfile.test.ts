import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { projectRoot } from '../support/project.ts'

const read = (path: string) => readFileSync(join(projectRoot, path), 'utf8')
const [builder = '', image = ''] = read('Containerfile').split(/^FROM \$\{BASE\}$/m)
const copied = (stage: string) =>
  [...stage.matchAll(/^COPY (.*) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '))

t.test('the image is built from every input of dist/', async t => {
  const [, list = ''] = /INPUTS = \[([^\]]*)\]/.exec(read('scripts/inputs.js')) ?? []
  const inputs = [...list.matchAll(/'([^']+)'/g)].map(([, name = '']) => name)
  t.strictSame(copied(builder).sort(), [...inputs, '.npmrc'].sort())
  const sent = read('.dockerignore')
    .split('\n')
    .filter(line => line.startsWith('!'))
  t.strictSame(sent.map(line => line.slice(1)).sort(), copied(builder).sort())
  t.ok(builder.trimEnd().endsWith('RUN node scripts/build.js'))
})

t.test('the image contains dist/ and nothing else of the project', async t => {
  t.strictSame(copied(image), ['--from=build', '/app/dist'])
})

t.test('the default base image has a major version of Node that CI tests', async t => {
  const [, major = ''] = /^ARG BASE=\S+\/node:(\d+)-/m.exec(read('Containerfile')) ?? []
  const { jobs } = parse(read('.github/workflows/ci.yml')) as {
    jobs: { ci: { strategy: { matrix: { node: string[] } } } }
  }
  const tested = jobs.ci.strategy.matrix.node
  t.ok(tested.includes(major), `${major} is one of ${tested.join(', ')}`)
})
