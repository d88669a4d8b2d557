// @FEAT:exchanges @COMP:service @TYPE:core

/**
 * Every way in which a call to an exchange can fail. `clock`: the exchange rejects the time of the request, also after its
 * clock was measured again. `location_refused`: it serves no client in the country of this machine.
 */
export type ExchangeErrorCode =
  | 'authentication'
  | 'permission'
  | 'clock'
  | 'location_refused'
  | 'rate_limited'
  | 'unavailable'
  | 'timeout'
  | 'bad_symbol'
  | 'order_not_found'
  | 'invalid_answer'
