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

/** The addresses that are set, by setting. */
export function urlsOf(
  config: Readonly<Partial<Record<UrlSetting, string | undefined>>>
): Partial<Record<UrlSetting, string>> {
  return Object.fromEntries(URL_SETTINGS.flatMap(name => (config[name] ? [[name, config[name]]] : [])))
}
