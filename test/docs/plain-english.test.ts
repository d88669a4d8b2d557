import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { documents, withoutCodeBlocks } from '../support/documents.ts'
import { projectRoot } from '../support/project.ts'

/** The words of the list in CONTRIBUTING.md that have no other meaning in a document. */
const AVOIDED =
  /\b(tells?|told|stands?|stood|by hand|beside|whoever|nobody|apart|mute|deaf|hears?|heard|obeys?|obeyed|afresh|anew)\b/gi

/** The text of a document without code, and without the list itself. */
function proseOf(text: string): string {
  return withoutCodeBlocks(text)
    .replace(/^\| word \| use instead \|\n(?:\|.*\n)*/m, '')
    .replace(/`[^`\n]*`/g, '')
}

t.test('documents use none of the words that CONTRIBUTING.md avoids', async t => {
  const used = documents().flatMap(({ file, text }) =>
    [...proseOf(text).matchAll(AVOIDED)].map(([word]) => `${file}: ${word}`)
  )
  t.strictSame(used, [])
  t.strictSame(
    [...proseOf('| word | use instead |\n|---|---|\n| told | x |\n\n`told` he is Told\n').matchAll(AVOIDED)].map(
      ([word]) => word
    ),
    ['Told']
  )
})

t.test('comments of deployment files use none of them', async t => {
  const files = ['Containerfile', 'deploy/compose.yaml', 'deploy/haproxy/haproxy.cfg', 'deploy/prometheus/alerts.yaml']
  const used = files.flatMap(file =>
    [...readFileSync(join(projectRoot, file), 'utf8').matchAll(AVOIDED)].map(([word]) => `${file}: ${word}`)
  )
  t.strictSame(used, [])
})
