// @FEAT:trading @COMP:service @TYPE:helper
import { Exact } from '../domain/decimal.ts'
import type { Language } from '../messages.ts'
import { quoteText } from '../notifications/html.ts'
import { eventData, type NoticeEvent } from '../notifications/notice-event.ts'
import type { ExternalOrder } from './external-orders.ts'

type Sentence = Record<Language, string>

const words = {
  forced: {
    ko: '거래소가 강제로 체결한 주문 (청산 또는 ADL)',
    en: 'The exchange traded by force (liquidation or ADL)'
  },
  external: { ko: '이 시스템이 내지 않은 주문', en: 'Order that this system did not place' },
  account: { ko: '계정', en: 'Account' },
  order: { ko: '주문', en: 'Order' },
  traded: { ko: '체결', en: 'Traded' },
  BUY: { ko: '매수', en: 'buy' },
  SELL: { ko: '매도', en: 'sell' },
  strategy: { ko: '전략의 포지션에 반영됨', en: 'Booked on the position of the strategy' },
  none: {
    ko: '이 포지션을 보유한 전략이 없어 계정에 반영됨',
    en: 'Booked on the account itself: no strategy holds the position'
  }
} satisfies Record<string, Sentence>

export interface ExternalOrderTextOptions {
  /** The names of the account and of its exchange. */
  account: { name: string; exchange: string }
  /** Whether a strategy holds the position. */
  isOfStrategy: boolean
  language: Language
}

/** The message about an external order, in Telegram's HTML. */
export function externalOrderText(
  { origin, order, fills }: Pick<ExternalOrder, 'origin' | 'order' | 'fills'>,
  { account, isOfStrategy, language }: ExternalOrderTextOptions
): string {
  return [
    `⚠️ <b>${words[origin][language]}</b>`,
    `${words.account[language]}: ${quoteText(`${account.exchange} ${account.name}`)}`,
    `${words.traded[language]}: ${tradedText({ order, fills }, language)}`,
    `${words.order[language]}: <code>${quoteText(order.exchangeOrderId)}</code>`,
    words[isOfStrategy ? 'strategy' : 'none'][language]
  ].join('\n')
}

/** The order in the summary of a quiet window, in Telegram's HTML. */
export function externalOrderLine(
  { origin, order, fills }: Pick<ExternalOrder, 'origin' | 'order' | 'fills'>,
  { account, language }: Pick<ExternalOrderTextOptions, 'account' | 'language'>
): string {
  const traded = tradedText({ order, fills }, language)
  return `${words[origin][language]} (${quoteText(`${account.exchange} ${account.name}`)}: ${traded})`
}

/** What the webhook gets about an external order. Amounts are decimal strings; an unknown price is null. */
export function externalOrderEvent(
  { origin, order, fills }: Pick<ExternalOrder, 'origin' | 'order' | 'fills'>,
  { account, isOfStrategy, at }: Omit<ExternalOrderTextOptions, 'language'> & { at: number }
): NoticeEvent {
  const { exchangeOrderId, exchangeSymbol, side, positionSide } = order
  const { quantity, price } = tradedOf({ order, fills })
  return {
    type: `order.${origin}`,
    at: new Date(at).toISOString(),
    data: eventData({
      exchange: account.exchange,
      account: account.name,
      exchangeSymbol,
      exchangeOrderId,
      side,
      positionSide,
      quantity,
      price: price ?? null,
      isOfStrategy
    })
  }
}

/** Symbol, side, quantity and price, in Telegram's HTML. */
function tradedText({ order, fills }: Pick<ExternalOrder, 'order' | 'fills'>, language: Language): string {
  const { quantity, price } = tradedOf({ order, fills })
  const positionSide = order.positionSide === 'BOTH' ? '' : ` ${order.positionSide}`
  return `${quoteText(order.exchangeSymbol)}${positionSide} ${words[order.side][language]} ${quantity} @ ${price ?? '?'}`
}

/** The sum of the fills and their average price. */
function tradedOf({ order, fills }: Pick<ExternalOrder, 'order' | 'fills'>) {
  const quantity = fills.reduce((sum, fill) => sum.plus(fill.quantity), new Exact(0))
  const cost = fills.reduce((sum, fill) => sum.plus(new Exact(fill.price).times(fill.quantity)), new Exact(0))
  const price = quantity.eq(0) ? order.averagePrice : cost.div(quantity).round(8).toFixed()
  return { quantity: quantity.toFixed(), price }
}
