// @FEAT:exchanges @COMP:service @TYPE:helper
import { Big } from 'big.js'

/**
 * A decimal number as text in plain notation (`0.00000014`, never `1.4E-7`), digit for digit as the exchange wrote it,
 * trailing zeros included. Compare and compute with big.js, never as text or as a float.
 */
export type Decimal = string

/** Big with 20 decimal places in quotients, rounded half to even; its own constructor, so that nobody else's settings reach it. */
export const Exact = Big()
Exact.DP = 20
Exact.RM = Exact.roundHalfEven

const PLAIN = /^-?(?:0|[1-9]\d{0,39})(?:\.\d{1,40})?$/
const WITH_EXPONENT = /^-?(?:0|[1-9]\d{0,39})(?:\.\d{1,40})?[eE][+-]?\d{1,2}$/
const ZERO = /^-?0(?:\.0+)?$/

/**
 * The number `text` in plain notation, digit for digit; only an exponent is written out.
 * Null when it is not a JSON number of at most 40 digits on either side and two digits of exponent.
 */
export function toDecimal(text: string): Decimal | null {
  if (PLAIN.test(text)) return text
  return WITH_EXPONENT.test(text) ? new Exact(text).toFixed() : null
}

/** Whether a decimal is zero, however it is written. */
export function isZero(value: Decimal): boolean {
  return ZERO.test(value)
}

/** `value` with the opposite sign, its digits untouched; zero stays as it is. */
export function negated(value: Decimal): Decimal {
  if (isZero(value)) return value
  return value.startsWith('-') ? value.slice(1) : `-${value}`
}
