/**
 * A simulated exchange in a process of its own, for measurements and demonstrations:
 * `node build/test/support/simulated-exchange/serve.js BINANCE 15000 1000`: exchange, number of symbols, milliseconds
 * between moves of the market (0: it stands still). Prints one line of JSON, the settings that lead to it; ends with
 * its standard input.
 */
import { isExchangeName } from '../../../src/domain/market.ts'
import { SimulatedExchange } from './simulated-exchange.ts'

const [, , exchange = 'BINANCE', symbols = '5', everyMs = '0'] = process.argv
if (!isExchangeName(exchange)) throw new Error(`${exchange} is no exchange`)
const simulated = await SimulatedExchange.start({ exchange, symbols: Number(symbols) })
if (Number(everyMs) > 0) simulated.keepMoving(Number(everyMs))
process.stdout.write(`${JSON.stringify(simulated.urls)}\n`)
process.stdin.resume().once('end', () => simulated.close())
