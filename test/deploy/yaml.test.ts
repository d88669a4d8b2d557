import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { projectRoot } from '../support/project.ts'

const folder = join(projectRoot, 'deploy')
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => /\.ya?ml$/.test(name))

function documentsOf(text: string, version: '1.1' | '1.2') {
  return parseAllDocuments(text, { version }).map(document => document.toJS())
}

t.test('every file has the same meaning in YAML 1.1 and YAML 1.2', async t => {
  t.ok(files.length >= 12, `files: ${files.length}`)
  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8')
    t.strictSame(documentsOf(text, '1.1'), documentsOf(text, '1.2'), file)
  }
  t.strictSame(
    (['1.1', '1.2'] as const).map(version => documentsOf('mode: 0440', version)),
    [[{ mode: 288 }], [{ mode: 440 }]],
    'the check finds a difference: numbers that begin with 0'
  )
})
