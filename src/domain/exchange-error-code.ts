// @FEAT:exchanges @COMP:service @TYPE:core

/** Every way in which a call to an exchange can fail. */
export type ExchangeErrorCode =
  | 'authentication'
  | 'permission'
  | 'rate_limited'
  | 'unavailable'
  | 'timeout'
  | 'bad_symbol'
  | 'order_not_found'
  | 'invalid_answer'
