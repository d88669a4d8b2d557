import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createProgram } from '../../src/cli/program.ts'
import { documents } from '../support/documents.ts'
import { projectRoot } from '../support/project.ts'

const commands = new Map(
  createProgram(() => undefined).commands.map(command => [
    command.name(),
    new Set(command.options.map(({ long }) => long))
  ])
)
/** The changelog names commands of earlier versions. */
const current = documents().filter(({ file }) => file !== 'CHANGELOG.md')

t.test('every command of the operator in a document exists, with its options', async t => {
  const lines = current.flatMap(({ file, text }) =>
    [...text.matchAll(/(?:npm run admin --|cli\.js) ([a-z]+(?::[a-z]+)?)([^`\n#]*)/g)].map(
      ([, name = '', rest = '']) => ({ file, name, options: rest.match(/--[a-z]+/g) ?? [] })
    )
  )
  t.ok(lines.length > 15, `commands: ${lines.length}`)
  for (const { file, name, options } of lines) {
    const known = commands.get(name)
    t.ok(known, `${file}: ${name}`)
    for (const option of options) t.ok(known?.has(option), `${file}: ${name} ${option}`)
  }
})

t.test('every script of npm in a document exists', async t => {
  const { scripts } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'))
  const used = current.flatMap(({ file, text }) =>
    [...text.matchAll(/npm run ([a-z:-]+)/g)].map(([, name = '']) => ({ file, name }))
  )
  t.ok(used.length > 20, `scripts: ${used.length}`)
  t.strictSame(
    used.filter(({ name }) => !(name in scripts)),
    []
  )
})
