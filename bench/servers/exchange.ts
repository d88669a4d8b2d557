// A simulated exchange in a process of its own, with accounts and orders. `exchange.js OKX 1000 10 5`: name, accounts,
// orders per account, latency in ms. Prints one line of JSON: its settings and the ids of the orders by account. Reads
// commands, one per line, and answers each with one line: `advance 10` (10 % of the open orders are filled in part,
// filled completely or cancelled, in turn), `count` (requests since the last `count`). Ends when its input ends.
import { createInterface } from 'node:readline'
import { isExchangeName } from '../../src/domain/market.ts'
import { SimulatedExchange } from '../../test/support/simulated-exchange/simulated-exchange.ts'

const [, , name = 'OKX', accounts = '1000', orders = '10', latencyMs = '5'] = process.argv
if (!isExchangeName(name)) throw new Error(`${name} is not an exchange`)
const exchange = await SimulatedExchange.start({ exchange: name, latencyMs: Number(latencyMs), symbols: 50 })
const placed = Array.from({ length: Number(accounts) }, (_, i) => {
  const account = exchange.addAccount({ apiKey: `key-${i}`, apiSecret: `secret-${i}` })
  return Array.from({ length: Number(orders) }, (_, j) =>
    exchange.place(account, {
      symbol: exchange.symbols[(i + j) % 50] ?? '',
      side: j % 3 === 2 ? 'SELL' : 'BUY',
      quantity: '2'
    })
  )
})
const all = placed.flat()
// Requests are counted as they arrive, because the exchange keeps only the last 10,000.
let counted = 0
let seen = exchange.requests.at(-1)
const counting = setInterval(count, 5)

say({
  urls: exchange.urls,
  orders: placed.map(own =>
    own.map(({ exchangeOrderId, symbol, exchangeSymbol, side, quantity }) => ({
      exchangeOrderId,
      symbol,
      exchangeSymbol,
      side,
      quantity
    }))
  )
})

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument = '0'] = line.split(' ')
  if (command === 'count') {
    count()
    say({ requests: counted })
    counted = 0
  } else if (command === 'advance') say(advance(Number(argument)))
}
clearInterval(counting)
await exchange.close()

function count(): void {
  const { requests } = exchange
  counted += requests.length - 1 - (seen === undefined ? -1 : requests.lastIndexOf(seen))
  seen = requests.at(-1)
}

function advance(percent: number): Record<string, number> {
  const counts = { further: 0, wholly: 0, canceled: 0 }
  const every = Math.round(100 / percent)
  for (const [index, order] of all.entries()) {
    if (index % every !== 0 || order.status === 'filled' || order.status === 'canceled') continue
    const turn = (index / every) % 3
    if (turn === 0) {
      exchange.fill(order, { quantity: '0.5' })
      counts.further++
    } else if (turn === 1) {
      exchange.fill(order)
      counts.wholly++
    } else {
      exchange.cancel(order)
      counts.canceled++
    }
  }
  return counts
}

function say(answer: unknown): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
