// @FEAT:exchanges @COMP:service @TYPE:core

/** Every way in which a call to an exchange can fail. */
export const EXCHANGE_ERROR_CODES = [
  'authentication',
  'permission',
  'rate_limited',
  'unavailable',
  'timeout',
  'bad_symbol',
  'order_not_found',
  'invalid_answer'
] as const
export type ExchangeErrorCode = (typeof EXCHANGE_ERROR_CODES)[number]
