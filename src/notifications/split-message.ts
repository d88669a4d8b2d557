// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { escapeHtml, graphemes, wellFormed } from './html.ts'

/** Longest text of a message, after entities parsing. Counted in UTF-16 units, the strictest of the counts in use. */
export const MAX_MESSAGE_LENGTH = 4_096

/** Beyond this number of entities, Telegram drops formatting or rejects the message. */
const MAX_ENTITIES = 100
/** Bound of a message's source, markup included, in bytes of UTF-8. */
const MAX_SOURCE_BYTES = 32_768
/** Tags nested deeper are ignored; their text stays. */
const MAX_DEPTH = 8

/** The tags of https://core.telegram.org/bots/api#html-style. */
const tagNames = new Set(
  'a b blockquote code del em i ins pre s span strike strong tg-emoji tg-spoiler tg-time u'.split(' ')
)
const tagPattern = /<(\/?)([a-z][a-z-]{0,15})(\s[^<>]{0,512})?>/gi
const attributesPattern = /^(?:\s+[a-z-]+(?:="[^"]*")?)*\s*$/i
const entityPattern = /&(?:(amp|lt|gt|quot)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));/g
const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' }

/** A visible character. Telegram rejects a message without one as empty. */
const visible = /[^\s\p{Cc}\p{Cf}\p{Z}\u115F\u1160\u2800\u3164\uFFA0]/u

interface Tag {
  name: string
  source: string
}

/** Decoded text and the open tags around it, outermost first. */
interface Run {
  text: string
  tags: readonly Tag[]
}

/**
 * Splits a message in Telegram's HTML into messages that Telegram accepts, in order. It splits at line ends; only a line
 * that does not fit into a message of its own is cut, after a space where there is one, and never inside a tag, an
 * entity or a grapheme (a grapheme longer than `limit` is cut between code points). Tags that are open at a split are
 * closed and opened again. All texts together are the text of the message; parts without a visible character are
 * left out, so a blank message gives none.
 *
 * It accepts any string: a tag that Telegram does not know, a lone `<` or `&` is text, a tag that was never closed is
 * closed, one that was never opened is removed.
 * @param limit longest text of a part in UTF-16 units after entities parsing, at least 2
 * @throws {RangeError} when `limit` is smaller
 */
export function splitMessage(html: string, limit = MAX_MESSAGE_LENGTH): string[] {
  if (!(limit >= 2)) throw new RangeError('a part must have room for one character')
  const parts: Part[] = []
  let part = new Part(limit)
  const begin = () => {
    if (part.isVisible()) parts.push(part)
    part = new Part(limit)
  }
  for (const line of linesOf(parse(wellFormed(html)))) {
    if (part.add(line)) continue
    begin()
    if (part.add(line)) continue
    for (const piece of cut(line, limit)) {
      begin()
      part.add(piece)
    }
  }
  begin()
  return parts.map(({ runs }) => render(runs))
}

/** A message under construction. */
class Part {
  readonly runs: Run[] = []
  readonly #limit: number
  #length = 0
  #entities = 0
  #bytes = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Appends all of the runs, or none of them when they do not fit. */
  add(runs: readonly Run[]): boolean {
    let length = this.#length
    let entities = this.#entities
    let bytes = this.#bytes
    let open = this.runs.at(-1)?.tags ?? []
    for (const run of runs) {
      const opened = run.tags.slice(sharedDepth(open, run.tags))
      length += run.text.length
      entities += opened.length
      bytes += Buffer.byteLength(escapeHtml(run.text))
      for (const tag of opened) bytes += Buffer.byteLength(tag.source + closing(tag))
      open = run.tags
    }
    if (length > this.#limit || entities > MAX_ENTITIES || bytes > MAX_SOURCE_BYTES) return false
    this.runs.push(...runs)
    this.#length = length
    this.#entities = entities
    this.#bytes = bytes
    return true
  }

  isVisible(): boolean {
    return this.runs.some(({ text }) => visible.test(text))
  }
}

function parse(html: string): Run[] {
  const runs: Run[] = []
  let open: readonly Tag[] = []
  let end = 0
  const addText = (source: string) => {
    if (source !== '') runs.push({ text: decode(source), tags: open })
  }
  for (const { 0: source, 1: slash, 2: spelling = '', 3: attributes = '', index } of html.matchAll(tagPattern)) {
    const name = spelling.toLowerCase()
    if (!tagNames.has(name) || !attributesPattern.test(attributes) || (slash && attributes)) continue
    addText(html.slice(end, index))
    end = index + source.length
    if (slash) {
      const depth = open.findLastIndex(tag => tag.name === name)
      if (depth >= 0) open = open.slice(0, depth)
    } else if (open.length < MAX_DEPTH) {
      open = [...open, { name, source }]
    }
  }
  addText(html.slice(end))
  return runs
}

function decode(source: string): string {
  return source.replace(entityPattern, (entity, name?: string, decimal?: string, hex?: string) => {
    if (name !== undefined) return entities[name] ?? entity
    const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal)
    const isCharacter = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff)
    return isCharacter ? String.fromCodePoint(code) : entity
  })
}

/** The runs of each line, its end included. */
function linesOf(runs: readonly Run[]): Run[][] {
  let line: Run[] = []
  const lines = [line]
  for (const { text, tags } of runs) {
    for (const piece of text.split(/(?<=\n)/)) {
      line.push({ text: piece, tags })
      if (!piece.endsWith('\n')) continue
      line = []
      lines.push(line)
    }
  }
  return lines
}

/** Cuts a line into pieces of which each fits into a part of its own. */
function* cut(line: readonly Run[], limit: number): Generator<Run[]> {
  let taken: Run[][] = []
  let wordEnd = 0
  let piece = new Part(limit)
  for (const atom of atomsOf(line, limit)) {
    while (!piece.add(atom)) {
      // A word that takes more than half of the part is rather cut than moved.
      const count = wordEnd > taken.length / 2 ? wordEnd : taken.length
      yield taken.slice(0, count).flat()
      taken = taken.slice(count)
      wordEnd = 0
      piece = new Part(limit)
      piece.add(taken.flat())
    }
    taken.push(atom)
    if (/\s$/.test(atom.at(-1)?.text ?? '')) wordEnd = taken.length
  }
  yield taken.flat()
}

/** The graphemes of a line; the code points of one that does not fit into a part. */
function* atomsOf(line: readonly Run[], limit: number): Generator<Run[]> {
  const runs = line[Symbol.iterator]()
  let run: Run | undefined
  let used = 0
  const take = (length: number): Run[] => {
    const atom: Run[] = []
    while (length > 0) {
      if (run === undefined || used === run.text.length) {
        run = runs.next().value
        used = 0
        if (run === undefined) break
      }
      const text = run.text.slice(used, used + length)
      atom.push({ text, tags: run.tags })
      used += text.length
      length -= text.length
    }
    return atom
  }
  for (const { length } of graphemes(line.map(({ text }) => text).join(''))) {
    const atom = take(length)
    if (new Part(limit).add(atom)) yield atom
    else for (const { text, tags } of atom) for (const character of text) yield [{ text: character, tags }]
  }
}

function render(runs: readonly Run[]): string {
  let html = ''
  let open: readonly Tag[] = []
  for (const { text, tags } of [...runs, { text: '', tags: [] }]) {
    const depth = sharedDepth(open, tags)
    html += open.slice(depth).reverse().map(closing).join('')
    for (const { source } of tags.slice(depth)) html += source
    html += escapeHtml(text)
    open = tags
  }
  return html
}

function closing({ name }: Tag): string {
  return `</${name}>`
}

function sharedDepth(before: readonly Tag[], after: readonly Tag[]): number {
  let depth = 0
  while (depth < before.length && before[depth] === after[depth]) depth++
  return depth
}
