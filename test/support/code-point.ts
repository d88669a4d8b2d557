import fc from 'fast-check'

const SURROGATES_BEGIN = 0xd800
const SURROGATES = 0x800

/**
 * Any code point except surrogates, as a text: the unit `binary` of `fc.string`. That unit makes a table of a million
 * texts in each process, which takes most of a second.
 */
export const codePoint = fc.nat({ max: 0x10ffff - SURROGATES }).map(
  index => String.fromCodePoint(index < SURROGATES_BEGIN ? index : index + SURROGATES),
  // fast-check asks which of the texts that often break software consist of these units.
  text => {
    const value = typeof text === 'string' ? text.codePointAt(0) : undefined
    if (value === undefined || String.fromCodePoint(value) !== text) throw new Error('not one code point')
    if (value < SURROGATES_BEGIN) return value
    if (value < SURROGATES_BEGIN + SURROGATES) throw new Error('a surrogate')
    return value - SURROGATES
  }
)
