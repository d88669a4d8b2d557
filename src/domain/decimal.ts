// @FEAT:exchanges @COMP:service @TYPE:helper
import { Big } from 'big.js'

/**
 * A decimal number as text in plain notation (`0.00000014`, never `1.4E-7`), with exactly the digits of the exchange,
 * trailing zeros included. Compare and compute with big.js, never as text or as a float.
 */
export type Decimal = string

/** Big with 20 decimal places in quotients, rounded half to even. A constructor of its own: other code cannot change its settings. */
export const Exact = Big()
Exact.DP = 20
Exact.RM = Exact.roundHalfEven

const PLAIN = /^-?(?:0|[1-9]\d{0,39})(?:\.\d{1,40})?$/
const WITH_EXPONENT = /^-?(?:0|[1-9]\d{0,39})(?:\.\d{1,40})?[eE][+-]?\d{1,2}$/
const ZERO = /^-?0(?:\.0+)?$/

/**
 * The number `text` in plain notation, with exactly its digits; only an exponent is expanded.
 * Null when it is not a JSON number of at most 40 digits on either side and two digits of exponent.
 */
export function toDecimal(text: string): Decimal | null {
  if (PLAIN.test(text)) return text
  return WITH_EXPONENT.test(text) ? new Exact(text).toFixed() : null
}

/** Whether a decimal is zero, such as `0`, `0.00` and `-0`. */
export function isZero(value: Decimal): boolean {
  return ZERO.test(value)
}

/** `value` with the opposite sign and the same digits; zero is unchanged. */
export function negated(value: Decimal): Decimal {
  if (isZero(value)) return value
  return value.startsWith('-') ? value.slice(1) : `-${value}`
}
