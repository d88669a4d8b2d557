import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { proseOfCode } from '../support/code-prose.ts'
import { documents, withoutCodeBlocks } from '../support/documents.ts'
import { projectRoot } from '../support/project.ts'
import type { SourceText } from '../support/syntax-tree.ts'

/** The words of the list in CONTRIBUTING.md that have no other meaning in a text about this service. */
const AVOIDED =
  /\b(tell(s|ing)?|(un)?told|stands?|standing|stood|by hand|beside|whoever|nobody|apart|mute[ds]?|deaf|hears?|hearing|heard|obey(s|ed|ing)?|afresh|anew|the one door|seams?|figures?)\b/gi

const avoidedIn = (text: string) => [...text.matchAll(AVOIDED)].map(([word]) => word)

/** The text of a document without code, and without the list itself. */
function proseOf(text: string): string {
  return withoutCodeSpans(withoutCodeBlocks(text).replace(/^\| word \| use instead \|\n(?:\|.*\n)*/m, ''))
}

const withoutCodeSpans = (text: string) => text.replace(/`[^`\n]*`/g, '')

/** The avoided words in comments, names of tests and messages of assertions, as `file:line: word`. */
function avoidedInCode(sources: readonly SourceText[]): string[] {
  return proseOfCode(sources).flatMap(({ file, line, text }) =>
    withoutCodeSpans(text)
      .split('\n')
      .flatMap((part, index) => avoidedIn(part).map(word => `${file}:${line + index}: ${word}`))
  )
}

t.test('documents use none of the words that CONTRIBUTING.md avoids', async t => {
  const used = documents().flatMap(({ file, text }) => avoidedIn(proseOf(text)).map(word => `${file}: ${word}`))
  t.strictSame(used, [])
  t.strictSame(avoidedIn(proseOf('| word | use instead |\n|---|---|\n| told | x |\n\n`told` he is Told\n')), ['Told'])
})

t.test('comments of deployment files use none of them', async t => {
  const files = ['Containerfile', 'deploy/compose.yaml', 'deploy/haproxy/haproxy.cfg', 'deploy/prometheus/alerts.yaml']
  const used = files.flatMap(file =>
    avoidedIn(readFileSync(join(projectRoot, file), 'utf8')).map(word => `${file}: ${word}`)
  )
  t.strictSame(used, [])
})

t.test('comments, names of tests and messages of assertions use none of them', async t => {
  const folders = ['src', 'plugins', 'routes', 'test', 'bench', 'demo', 'scripts']
  const files = folders.flatMap(folder =>
    readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => /\.[jt]s$/.test(name))
      .map(name => join(folder, name))
      .sort()
  )
  t.ok(files.length > 400, `files: ${files.length}`)
  t.strictSame(avoidedInCode(files.map(file => ({ file, text: readFileSync(join(projectRoot, file), 'utf8') }))), [])
})

t.test('avoided words are found in the prose of code, and not in the code', async t => {
  const text = [
    "const told = 'https://x.example/nobody' // 한국어 is told",
    '/** `told`',
    ' *  stands */',
    "t.test('a mute server', async t => {",
    `  t.equal(deaf(\`//heard\`), /\\/*apart/, \`not \${told} by hand\`) /* anew */`,
    "  t.ok(said, 'it heard')",
    "  t.equal(said, 'nobody')",
    "  log('nobody hears')",
    '})',
    "recordedTest('obeyed', run)"
  ].join('\n')
  const found = ['1: told', '3: stands', '5: anew', '4: mute', '5: by hand', '6: heard', '10: obeyed']
  for (const file of ['a.ts', 'a.js']) {
    t.strictSame(
      avoidedInCode([{ file, text }]),
      found.map(line => `${file}:${line}`)
    )
  }
})
