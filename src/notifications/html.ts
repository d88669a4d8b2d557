const named: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** Text as Telegram's HTML: what it shows is the text, letter by letter. Safe in a double-quoted attribute too. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, character => named[character] ?? character)
}

const characters: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' }

/** The text that Telegram's HTML of this service shows, without markup. */
export function plainText(html: string): string {
  return html.replace(/<[^>]*>/g, '').replace(/&(amp|lt|gt|quot);/g, (_entity, name: string) => characters[name] ?? '')
}

/** Replaces halves of surrogate pairs, which Telegram refuses as not being UTF-8, by U+FFFD. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD')
}

const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' })
const WINDOW = 512

/** The graphemes of a text, what readers take for one character (Unicode UAX #29), in time linear in its length. */
export function* graphemes(text: string): Generator<string> {
  // V8 takes time quadratic in the length of what it segments, so it is shown a window at a time. A boundary depends on
  // nothing before the one before it, and on the next code point: all but the last segment of a window are certain.
  let window = WINDOW
  for (let start = 0; start < text.length; ) {
    // Half of a pair at the window's end would be another code point.
    const end = start + window + (/[\uD800-\uDBFF]/.test(text.charAt(start + window - 1)) ? 1 : 0)
    const segments = Array.from(segmenter.segment(text.slice(start, end)), ({ segment }) => segment)
    const isLast = end >= text.length
    if (!isLast && segments.length === 1) {
      window *= 2
      continue
    }
    if (!isLast) segments.pop()
    for (const segment of segments) {
      yield segment
      start += segment.length
    }
    window = WINDOW
  }
}

const breaksOrControls = /[\p{Cc}\p{Zl}\p{Zp}\s]+/gu
const directionControls = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g
const rightToLeft = /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u

/**
 * A name or sentence that a person typed, as part of one line of HTML. It cannot start a line, contain markup or change
 * the direction of the text around it: line ends become spaces, direction controls are removed, right-to-left text is
 * isolated (U+2068, U+2069). Longer text ends in an ellipsis.
 * @param maxLength in UTF-16 units before escaping, the isolation not counted
 */
export function quoteText(text: string, maxLength = 64): string {
  const line = wellFormed(text).replace(directionControls, '').replace(breaksOrControls, ' ').trim()
  const shown = line.length <= maxLength ? line : `${head(line, maxLength - 1)}…`
  return escapeHtml(rightToLeft.test(shown) ? `\u2068${shown}\u2069` : shown)
}

/** The longest prefix of whole graphemes, or of whole code points where the first grapheme is too long. */
function head(text: string, maxLength: number): string {
  let end = 0
  for (const grapheme of graphemes(text)) {
    if (end + grapheme.length > maxLength) break
    end += grapheme.length
  }
  if (end > 0) return text.slice(0, end)
  for (const character of text) {
    if (end + character.length > maxLength) break
    end += character.length
  }
  return text.slice(0, end)
}
