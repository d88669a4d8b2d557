// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { type Decimal, Exact } from '../domain/decimal.ts'
import { roundedAmount } from '../domain/rounded-amount.ts'

/** A time as `12-01 15:04`. @param timeZone IANA name */
export function shortTime(at: Date, timeZone: string): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(at).slice(5)
}

/** An amount rounded for people, thousands grouped. Unknown is a question mark. */
function amountText(value: Decimal | null, currency: string): string {
  return value === null ? '?' : grouped(roundedAmount(value, currency))
}

/** As `amountText`, with a plus sign above zero. */
export function changeText(value: Decimal | null, currency: string): string {
  const text = amountText(value, currency)
  return value !== null && text !== '0' && new Exact(value).gt(0) ? `+${text}` : text
}

/** A quantity or a price: all of its digits, thousands grouped. Unknown is a question mark. */
export function quantityText(value: Decimal | null): string {
  return value === null ? '?' : grouped(value)
}

function grouped(value: Decimal): string {
  const [whole = '', fraction] = value.split('.')
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return fraction === undefined ? groups : `${groups}.${fraction}`
}
