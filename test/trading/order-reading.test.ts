import t from 'tap'
import { listsOf } from '../../src/trading/order-reading.ts'

const SPOT = { list: 80, listOfSymbol: 6, order: 4 }
const FUTURES = { list: 80, listOfSymbol: 2, order: 1 }
const PER_KEY = { list: 1, listOfSymbol: 1, order: 1 }

/** So many orders, spread over so many symbols. */
const orders = (count: number, symbols: number) =>
  Array.from({ length: count }, (_, i) => ({ exchangeSymbol: `S${i % symbols}` }))

t.test('orders are read by what takes the least of the limit', async t => {
  const cases = [
    [SPOT, orders(1, 1), 'orders'],
    [SPOT, orders(2, 1), 'lists_of_symbols'],
    [SPOT, orders(2, 2), 'orders'],
    [SPOT, orders(13, 13), 'orders'],
    [SPOT, orders(20, 20), 'orders'],
    [SPOT, orders(21, 21), 'list'],
    [SPOT, orders(100, 13), 'lists_of_symbols'],
    [SPOT, orders(100, 14), 'list'],
    [FUTURES, orders(1, 1), 'orders'],
    [FUTURES, orders(3, 1), 'lists_of_symbols'],
    [FUTURES, orders(80, 80), 'orders'],
    [FUTURES, orders(200, 39), 'lists_of_symbols'],
    [FUTURES, orders(200, 40), 'list'],
    [PER_KEY, orders(1, 1), 'orders'],
    [PER_KEY, orders(2, 1), 'list'],
    [PER_KEY, orders(500, 90), 'list'],
    [{ ...PER_KEY, list: 2 }, orders(2, 2), 'orders'],
    [{ ...PER_KEY, list: 2 }, orders(9, 1), 'lists_of_symbols']
  ] as const
  for (const [costs, read, reading] of cases) {
    const symbols = [...new Set(read.map(({ exchangeSymbol }) => exchangeSymbol))]
    const expected = { orders: [], list: [{}], lists_of_symbols: symbols.map(exchangeSymbol => ({ exchangeSymbol })) }
    t.strictSame(listsOf(costs, read), expected[reading], `${read.length} orders of ${symbols.length} symbols`)
  }
})
