import fc from 'fast-check'
import t from 'tap'
import { escapeHtml, quoteText } from '../../src/notifications/html.ts'
import { MAX_MESSAGE_LENGTH, splitMessage } from '../../src/notifications/split-message.ts'
import { readHtml } from '../support/bot-api-server.ts'
import { codePoint } from '../support/code-point.ts'

/**
 * The text that Telegram displays of a message. Throws the error that Telegram returns for a message that it rejects.
 */
function shown(html: string): string {
  const message = readHtml(html)
  if ('error' in message) throw new Error(`${message.error} in ${html}`)
  return message.text
}

const names = [
  '<b>',
  '</b></i>',
  'R&D &amp; co',
  '👩🏽‍🚀 moon 🇰🇷',
  'حساب رئيسي',
  'חשבון',
  '"quoted" <a href="x">',
  '현물 계좌',
  '&lt;&#60;'
]

/** A daily summary of the job, for accounts with hostile names. */
function summary(accounts: number): string {
  const lines = ['📊 <b>일일 요약 2026-11-22</b>', '']
  for (let index = 0; index < accounts; index++) {
    const name = quoteText(`${names[index % names.length]} ${index}`)
    lines.push(`<b>${name}</b> <i>BINANCE</i>`)
    lines.push(`  실현 손익 <code>+1234.56789012</code> USDT, 미실현 <code>-0.1</code>`, '')
  }
  return `${lines.join('\n')}<i>펀딩 비용은 포함되지 않습니다.</i>`
}

t.test(
  'a summary of 200 accounts with hostile names arrives completely, in messages that Telegram accepts',
  async t => {
    const html = summary(200)
    const parts = splitMessage(html)
    t.ok(parts.length > 1, `${parts.length} messages`)
    for (const part of parts) {
      const message = readHtml(part)
      if ('error' in message) throw new Error(message.error)
      const { entities } = message
      const { length } = message.text
      t.ok(length <= MAX_MESSAGE_LENGTH, `${length} characters`)
      t.ok(entities <= 100, `${entities} entities`)
    }
    t.equal(parts.map(shown).join(''), shown(html))
    t.ok(
      parts.slice(0, -1).every(part => part.endsWith('\n')),
      'every split is at a line end'
    )
  }
)

t.test('a message that fits is unchanged', async t => {
  t.strictSame(splitMessage('<b>one</b>\n&lt;two&gt;'), ['<b>one</b>\n&lt;two&gt;'])
  const longest = 'x'.repeat(MAX_MESSAGE_LENGTH)
  t.strictSame(splitMessage(`<b>${longest}</b>`), [`<b>${longest}</b>`])
  t.equal(splitMessage(`<b>${longest}y</b>`).length, 2)
  t.strictSame(splitMessage('&amp;'.repeat(MAX_MESSAGE_LENGTH)), ['&amp;'.repeat(MAX_MESSAGE_LENGTH)])
})

t.test('tags that are open at a split are closed and opened again, with their attributes', async t => {
  t.strictSame(splitMessage('<b>one\n<a href="https://a/?b&amp;c">two\nsix</a></b>\nten', 5), [
    '<b>one\n</b>',
    '<b><a href="https://a/?b&amp;c">two\n</a></b>',
    '<b><a href="https://a/?b&amp;c">six</a></b>\n',
    'ten'
  ])
})

t.test('a long line is cut after a word, and a long word between graphemes', async t => {
  t.strictSame(splitMessage('alpha beta gamma', 12), ['alpha beta ', 'gamma'])
  t.strictSame(splitMessage('👩🏽‍🚀👩🏽‍🚀', 8), ['👩🏽‍🚀', '👩🏽‍🚀'])
  t.strictSame(splitMessage('abc<b>e\u0301</b>f', 4), ['abc', '<b>e\u0301</b>f'])
  t.strictSame(splitMessage('ab<b>e</b>\u0301', 3), ['ab', '<b>e</b>\u0301'], 'not at a tag inside a grapheme')
  t.strictSame(splitMessage('a&lt;b', 2), ['a&lt;', 'b'])
  t.strictSame(
    splitMessage(`a${'\u0301'.repeat(4)}`, 3),
    ['a\u0301\u0301', '\u0301\u0301'],
    'unless a single grapheme is longer'
  )
  t.strictSame(splitMessage('😀😀', 2), ['😀', '😀'])
})

t.test('a message has at most a hundred entities', async t => {
  const html = '<b>x</b>\n'.repeat(250)
  t.strictSame(
    splitMessage(html).map(part => part.match(/<b>/g)?.length),
    [100, 100, 50]
  )
})

t.test('the source of a message stays within 32 KiB', async t => {
  const link = `<a href="https://example.org/${'x'.repeat(450)}">x</a>\n`
  const parts = splitMessage(link.repeat(99))
  t.ok(parts.length > 1, `${parts.length} messages`)
  const longest = Math.max(...parts.map(part => Buffer.byteLength(part)))
  t.ok(longest <= 32_768, `${longest} bytes`)
})

t.test('parts without a visible character are left out', async t => {
  t.strictSame(splitMessage(''), [])
  t.strictSame(splitMessage(' \n\u200B\u2800'), [])
  t.strictSame(splitMessage('aaa\n\n\n\n\n\nbbb', 4), ['aaa\n', '\nbbb'])
})

t.test('unknown or unbalanced markup is repaired', async t => {
  t.strictSame(splitMessage('a < b && c > d <script>x</script>'), [
    'a &lt; b &amp;&amp; c &gt; d &lt;script&gt;x&lt;/script&gt;'
  ])
  t.strictSame(splitMessage('<b><i>x</b>y</i>'), ['<b><i>x</i></b>y'])
  t.strictSame(splitMessage('</b><b>x'), ['<b>x</b>'])
  t.strictSame(splitMessage('<b onclick=1>x'), ['&lt;b onclick=1&gt;x'])
  t.strictSame(splitMessage('\uD800&#xD800;&#65;&#x1F600;&#0;'), ['\uFFFD&amp;#xD800;A😀&amp;#0;'])
})

t.test('a limit below 2 is an error', async t => {
  t.throws(() => splitMessage('x', 1), RangeError)
  t.throws(() => splitMessage('x', Number.NaN), RangeError)
})

const texts = fc.string({
  unit: fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    fc.constantFrom('\n', ' ', '<', '>', '&', '"', '👩🏽‍🚀', 'ש', '&amp;')
  )
})
const { markup } = fc.letrec<{ markup: string }>(tie => ({
  markup: fc
    .array(
      fc.oneof(
        { weight: 3, arbitrary: texts.map(escapeHtml) },
        {
          weight: 2,
          arbitrary: fc
            .tuple(fc.constantFrom('b', 'i', 'code', 'blockquote'), tie('markup'))
            .map(([name, inner]) => `<${name}>${inner}</${name}>`)
        }
      ),
      { maxLength: 5 }
    )
    .map(pieces => pieces.join(''))
}))
const limits = fc.integer({ min: 2, max: 40 })

/** White space, control characters, and the fillers of Hangul and Braille are not visible. */
const SEEN = /[^\s\p{Cc}\p{Cf}\p{Z}\u115F\u1160\u2800\u3164\uFFA0]/u

/** The positions of the parts in the whole text. Throws when visible text is missing between them. */
function placeParts(whole: string, parts: readonly string[]): number[] {
  let end = 0
  const starts = parts.map(part => {
    const start = whole.indexOf(part, end)
    if (start < 0 || SEEN.test(whole.slice(end, start))) throw new Error(`lost text before ${JSON.stringify(part)}`)
    end = start + part.length
    return start
  })
  if (SEEN.test(whole.slice(end))) throw new Error('lost text at the end')
  return starts
}

t.test('for any message, parts are balanced, within the limit, and complete', async () => {
  fc.assert(
    fc.property(markup, limits, (html, limit) => {
      const parts = splitMessage(html, limit).map(shown)
      placeParts(shown(html), parts)
      return parts.every(part => part.length <= limit && SEEN.test(part) && !/\p{Surrogate}/u.test(part))
    }),
    { numRuns: 500 }
  )
})

t.test('any message is split at line ends if lines fit, else between graphemes if those fit', async () => {
  fc.assert(
    fc.property(markup, limits, (html, limit) => {
      const whole = shown(html)
      const parts = splitMessage(html, limit).map(shown)
      const starts = placeParts(whole, parts).slice(1)
      const linesFit = whole.split(/(?<=\n)/).every(line => line.length <= limit)
      if (linesFit) return starts.every(start => whole[start - 1] === '\n')
      const boundaries = new Set<number>()
      for (const { index, segment } of new Intl.Segmenter('und', { granularity: 'grapheme' }).segment(whole)) {
        boundaries.add(index)
        if (segment.length > limit) for (let at = index; at < index + segment.length; at++) boundaries.add(at)
      }
      return starts.every(start => boundaries.has(start))
    }),
    { numRuns: 500 }
  )
})

t.test('for any string, parts are balanced and within the limit', async () => {
  const noise = fc.string({
    unit: fc.oneof(
      fc.constantFrom(
        '<',
        '>',
        '&',
        ';',
        '/',
        '"',
        '=',
        '<b>',
        '</b>',
        '<i>',
        '</i>',
        '<a href="x">',
        '</a>',
        '&lt;',
        '&#',
        '\n'
      ),
      fc.string({ unit: codePoint, minLength: 1, maxLength: 1 })
    )
  })
  fc.assert(
    fc.property(noise, limits, (html, limit) => splitMessage(html, limit).every(part => shown(part).length <= limit)),
    { numRuns: 500 }
  )
})

t.test('a megabyte without a line end is cut in linear time', async t => {
  const parts = splitMessage('가나다 '.repeat(250_000))
  t.equal(parts.map(shown).join('').length, 1_000_000)
  t.equal(splitMessage(`<b ${' '.repeat(500)}`.repeat(1_000)).length, 123, 'also with unclosed tags')
})
