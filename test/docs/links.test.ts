import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { documents, withoutCodeBlocks } from '../support/documents.ts'
import { projectRoot } from '../support/project.ts'

interface Link {
  /** The document that has the link. */
  file: string
  target: string
}

const texts = new Map(documents().map(({ file, text }) => [file, text]))

/** The relative links of a document, including those to its own headings. */
function linksOf(file: string, markdown: string): Link[] {
  const links = [...withoutCodeBlocks(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({
    file,
    target
  }))
  return links.filter(({ target }) => !/^[a-z]+:/.test(target))
}

/** The anchors of the headings of a document, as GitHub makes them. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of withoutCodeBlocks(markdown).matchAll(/^#+ (.+)$/gm)) {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-')
    let free = anchor
    for (let count = 1; anchors.has(free); count++) free = `${anchor}-${count}`
    anchors.add(free)
  }
  return anchors
}

/** Why a link does not work; undefined when it works. */
function problemOf({ file, target }: Link): string | undefined {
  const [path = '', anchor] = target.split('#')
  const named = path === '' ? file : relative('.', join(dirname(file), path))
  if (!existsSync(join(projectRoot, named))) return `${file}: ${target} does not exist`
  if (anchor === undefined) return undefined
  const text = texts.get(named)
  return text !== undefined && anchorsOf(text).has(anchor) ? undefined : `${file}: ${target} has no such heading`
}

t.test('links and anchors are found', async t => {
  const markdown =
    '# One `TWO_3`: x/y\n## A\n## A\n[a](b.md#c), [d](https://e.example), [f](#g)\n```\n[h](i)\n# J\n```\n'
  t.strictSame(
    linksOf('x.md', markdown).map(({ target }) => target),
    ['b.md#c', '#g']
  )
  t.strictSame([...anchorsOf(markdown)], ['one-two_3-xy', 'a', 'a-1'])
  t.equal(problemOf({ file: 'docs/operations.md', target: '../README.md' }), undefined)
  t.match(problemOf({ file: 'docs/operations.md', target: 'README.md' }), /does not exist$/)
  t.match(problemOf({ file: 'README.md', target: 'docs/operations.md#nothing' }), /no such heading$/)
})

t.test('every relative link and anchor of every document works', async t => {
  const links = [...texts].flatMap(([file, text]) => linksOf(file, text))
  t.ok(links.length > 30, `links: ${links.length}`)
  t.strictSame(
    links.flatMap(link => problemOf(link) ?? []),
    []
  )
})
