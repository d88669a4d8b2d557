// @FEAT:trading @COMP:service @TYPE:helper
import { type Decimal, Exact } from './decimal.ts'

/** Currencies whose amounts people write without decimals, and with two. All others have eight. */
const DECIMALS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(['KRW', 'JPY', 'IDR', 'VND'].map(currency => [currency, 0])),
  ...Object.fromEntries(
    [
      ...['USD', 'USDT', 'USDC', 'USDE', 'USD1', 'USDD', 'USDP', 'BUSD', 'FDUSD', 'PYUSD', 'RLUSD', 'TUSD', 'DAI'],
      ...['EUR', 'EURI', 'GBP', 'TRY', 'BRL', 'AUD', 'SGD', 'THB']
    ].map(currency => [currency, 2])
  )
}
const OTHER_DECIMALS = 8
const ROUNDED = /^-?\d+\.\d{9,}$/

/**
 * An amount as people read it, rounded half to even: in KRW without decimals, in USD, its stable coins and other money with
 * two, in other assets with eight. Without trailing zeros, and never `-0`. Tables and the API keep all digits.
 */
export function roundedAmount(value: Decimal, currency: string): Decimal {
  const decimals = Object.hasOwn(DECIMALS, currency) ? (DECIMALS[currency] ?? OTHER_DECIMALS) : OTHER_DECIMALS
  return plainOf(new Exact(value).round(decimals, Exact.roundHalfEven))
}

/**
 * A difference of amounts, where the smallest digit counts: rounded half to even at eight decimals, or at its first digit
 * where it would be zero then. Any other text stays as it is.
 */
export function roundedDifference(text: string): string {
  if (!ROUNDED.test(text)) return text
  const value = new Exact(text)
  const rounded = value.round(OTHER_DECIMALS, Exact.roundHalfEven)
  return plainOf(rounded.eq(0) && !value.eq(0) ? value.prec(1, Exact.roundHalfEven) : rounded)
}

function plainOf(value: InstanceType<typeof Exact>): Decimal {
  return value.eq(0) ? '0' : value.toFixed()
}
