/**
 * A simulated exchange in a process of its own, for measurements and demonstrations. Its arguments:
 * `serve.js BINANCE 15000 1000`: exchange, number of symbols, milliseconds between changes of the prices (0: they do not
 * change). Prints one line of JSON: the settings that make a service use it. Ends when its standard input ends.
 */
import { isExchangeName } from '../../../src/domain/market.ts'
import { SimulatedExchange } from './simulated-exchange.ts'

const [, , exchange = 'BINANCE', symbols = '5', everyMs = '0'] = process.argv
if (!isExchangeName(exchange)) throw new Error(`${exchange} is not an exchange`)
const simulated = await SimulatedExchange.start({ exchange, symbols: Number(symbols) })
if (Number(everyMs) > 0) simulated.keepMoving(Number(everyMs))
process.stdout.write(`${JSON.stringify(simulated.urls)}\n`)
process.stdin.resume().once('end', () => simulated.close())
