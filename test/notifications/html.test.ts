import fc from 'fast-check'
import t from 'tap'
import { escapeHtml, graphemes, quoteText } from '../../src/notifications/html.ts'
import { readHtml } from '../support/bot-api-server.ts'
import { codePoint } from '../support/code-point.ts'

t.test('escaped text is displayed literally', async t => {
  t.equal(escapeHtml('<b>"R&D"</b>'), '&lt;b&gt;&quot;R&amp;D&quot;&lt;/b&gt;')
  fc.assert(
    fc.property(fc.string({ unit: codePoint }), text => {
      t.strictSame(readHtml(escapeHtml(text)), { text, entities: 0 })
    })
  )
})

t.test('a quoted name has no line end and does not change the direction of other text', async t => {
  t.equal(quoteText('main\n\u0000<b>fake line</b>\u2028x'), 'main &lt;b&gt;fake line&lt;/b&gt; x')
  t.equal(quoteText('ab\u202Ecd\u2067'), 'abcd')
  t.equal(quoteText('حساب رئيسي'), '\u2068حساب رئيسي\u2069')
  t.equal(quoteText('a\uD83Db'), 'a\uFFFDb')
  t.equal(quoteText('  '), '')
})

t.test('a long quoted name is cut between graphemes', async t => {
  t.equal(quoteText('abcdef', 4), 'abc…')
  t.equal(quoteText('ab👨‍👩‍👧', 5), 'ab…')
  t.equal(quoteText(`a${'\u0301'.repeat(100)}`, 4), 'a\u0301\u0301…')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 2, max: 20 }), (text, limit) => {
      const message = readHtml(quoteText(text, limit))
      if ('error' in message) throw new Error(message.error)
      const { length } = message.text.replace(/[\u2068\u2069]/g, '')
      t.ok(length <= limit, `${length} characters, at most ${limit}`)
    })
  )
})

t.test('graphemes are those of the Unicode segmentation, also for long texts', async t => {
  const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' })
  const unit = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    fc.constantFrom('👩🏽‍🚀', '🇰🇷', '\r\n', '\u0301', '\u200D', '각')
  )
  fc.assert(
    fc.property(fc.string({ unit, minLength: 400, maxLength: 900 }), text => {
      t.strictSame(
        [...graphemes(text)],
        Array.from(segmenter.segment(text), ({ segment }) => segment)
      )
    }),
    { numRuns: 30 }
  )
  const long = `a${'\u0301'.repeat(2_000)}`
  t.strictSame([...graphemes(`x${long}y`)], ['x', long, 'y'])
})
