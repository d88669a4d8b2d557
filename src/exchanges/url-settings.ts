// @FEAT:exchanges @COMP:service @TYPE:helper
/** The settings that override a base URL. */
export const URL_SETTINGS = [
  'BINANCE_URL',
  'BINANCE_FUTURES_URL',
  'BYBIT_URL',
  'OKX_URL',
  'UPBIT_URL',
  'BITHUMB_URL'
] as const
export type UrlSetting = (typeof URL_SETTINGS)[number]
