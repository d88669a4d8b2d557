// Random days on all exchanges. At the end of each day our books equal those of the exchange, which are kept by the
// simulated exchange. SEED selects others; DAYS is the number of days on each exchange.
import t from 'tap'
import { EXCHANGE_NAMES } from '../../src/domain/market.ts'
import { BooksSimulation } from '../support/books-simulation.ts'

const DAYS = Number(process.env.DAYS ?? 40)
/** The same days in each run. SEED=random tries others. */
const SEED = process.env.SEED === 'random' ? 1 + Math.floor(Math.random() * 1_000_000) : Number(process.env.SEED ?? 1)

for (const [index, exchange] of EXCHANGE_NAMES.entries()) {
  const seed = SEED + index
  t.test(`${exchange}: after each of ${DAYS} random days the books are equal to the last digit`, async t => {
    t.comment(`DAYS=${DAYS} SEED=${SEED}`)
    const simulation = await BooksSimulation.start(t, { exchange, seed })
    const rounds = await simulation.settle(12)
    t.strictSame(await simulation.mismatches(), [], `the account is opened after ${rounds} rounds`)
    for (let day = 1; day <= DAYS; day++) {
      const from = simulation.events.length
      await simulation.day()
      await simulation.settle()
      const found = [
        ...(await simulation.mismatches()),
        ...(await simulation.differences()).map(d => JSON.stringify(d))
      ]
      t.strictSame(found, [], `day ${day} of seed ${seed}`)
      if (found.length === 0) continue
      t.fail(simulation.events.slice(from).join('; '))
      break
    }
  })

  t.test(
    `${exchange}: a balance that nothing explains, and a fill that is not listed, are reported in the third run`,
    async t => {
      const simulation = await BooksSimulation.start(t, { exchange, seed })
      const { quote } = simulation
      await simulation.settle(12)
      await simulation.trade({
        isOwn: true,
        market: 'SPOT',
        symbol: `BTC${quote}`,
        side: 'BUY',
        quantity: '2',
        isWhole: true,
        feeAsset: quote
      })
      await simulation.settle()
      t.strictSame(await simulation.differences(), [])

      simulation.manipulate(quote, '-0.00000123')
      const reported = await simulation.roundsUntilReported()
      const wallet = { what: `SPOT ${quote}`, difference: '-0.00000123' }
      t.strictSame(reported, [
        [{ ...wallet, reported: false }],
        [{ ...wallet, reported: false }],
        [{ ...wallet, reported: true }]
      ])
      simulation.manipulate(quote, '0.00000123')
      await simulation.settle()
      t.strictSame(await simulation.differences(), [], 'it ends by itself')

      await simulation.trade({
        isOwn: false,
        market: 'SPOT',
        symbol: `BTC${quote}`,
        side: 'SELL',
        quantity: '0.5',
        isListed: false,
        feeAsset: quote
      })
      const withheld = (await simulation.roundsUntilReported()).at(-1) ?? []
      t.strictSame(
        withheld.map(({ what, reported }) => ({ what, reported })),
        [`SPOT BTC`, `SPOT ${quote}`].map(what => ({ what, reported: true }))
      )
      t.equal(withheld[0]?.difference, '-0.5')
    }
  )
}
