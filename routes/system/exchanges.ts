// @FEAT:exchanges @COMP:route @TYPE:core
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { ExchangeBudget } from '../../src/trading/exchange-budgets.ts'
import type { Handler } from '../handler.ts'
import { closed, errors } from '../schemas.ts'

const nullableNumber = (description: string) => Type.Union([Type.Number(), Type.Null()], { description })

const Lateness = Type.Object(
  {
    wait_seconds: nullableNumber(
      'the wait of the account that was not read for the longest time; null: nothing to read'
    ),
    period_seconds: Type.Number({ description: 'the period that the limits allow' })
  },
  closed
)

const Budget = Type.Object(
  {
    accounts: Type.Integer({ description: 'active accounts' }),
    use: Type.Array(
      Type.Object(
        {
          market_types: Type.Array(Type.String()),
          limit: Type.String({ description: 'the name of a limit that all accounts behind our address share' }),
          stated: Type.Integer({ description: 'what the exchange allows in `window_seconds`' }),
          window_seconds: Type.Number(),
          used: nullableNumber('what is used now; null: this replica has made no call to the host'),
          need_ratio: Type.Number({
            description: 'what the accounts need, of what is stated; above 0.9 jobs take longer'
          })
        },
        closed
      )
    ),
    lateness: Type.Object({ orders: Lateness, balances: Lateness }, closed)
  },
  closed
)

const Metadata = Type.Object(
  {
    name: Type.String(),
    supports_spot: Type.Boolean(),
    supports_futures: Type.Boolean({ description: 'linear perpetuals' }),
    supports_perpetual: Type.Boolean(),
    has_testnet: Type.Boolean(),
    quote_currencies: Type.Array(Type.String()),
    budget: Type.Union([Budget, Type.Null()], { description: 'null: no active account' })
  },
  closed
)

const upbitExample = {
  name: 'Upbit',
  supports_spot: true,
  supports_futures: false,
  supports_perpetual: false,
  has_testnet: false,
  quote_currencies: ['KRW'],
  budget: null
}
const binanceExample = {
  name: 'Binance',
  supports_spot: true,
  supports_futures: true,
  supports_perpetual: true,
  has_testnet: true,
  quote_currencies: ['USDT'],
  budget: {
    accounts: 100,
    use: [
      { market_types: ['SPOT'], limit: 'weight', stated: 6000, window_seconds: 60, used: 2214, need_ratio: 0.48 },
      { market_types: ['FUTURES'], limit: 'weight', stated: 2400, window_seconds: 60, used: 690, need_ratio: 0.3 }
    ],
    lateness: {
      orders: { wait_seconds: 21.4, period_seconds: 29 },
      balances: { wait_seconds: 40.1, period_seconds: 59 }
    }
  }
}

const metadataSchema = {
  tags: ['exchanges'],
  summary: 'The supported exchanges, what they offer, and what the accounts need of their rate limits',
  response: {
    200: Type.Object(
      { success: Type.Literal(true), payload: Type.Record(Type.String(), Metadata) },
      { ...closed, examples: [{ success: true, payload: { binance: binanceExample, upbit: upbitExample } }] }
    ),
    ...errors(401, 403, 503)
  }
}

/** The supported exchanges. */
const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/exchange-metadata', { schema: metadataSchema }, metadata)
}

const metadata: Handler<typeof metadataSchema> = async ({ server }, reply) => {
  // The catalogue imports the adapters: they are not loaded at the start.
  const { exchangeMetadata } = await import('../../src/exchanges/catalogue.ts')
  const budgets = new Map([...(await server.exchangeBudgets.read())].map(([name, own]) => [name.toLowerCase(), own]))
  const payload = Object.fromEntries(
    Object.entries(exchangeMetadata()).map(([id, entry]) => [id, { ...entry, budget: budgetOf(budgets.get(id)) }])
  )
  return reply.code(200).send({ success: true, payload })
}

function budgetOf(budget: ExchangeBudget | undefined) {
  if (budget === undefined) return null
  const { accounts, limits, lateness } = budget
  const late = ({ waitMs, periodMs }: ExchangeBudget['lateness']['orders']) => ({
    wait_seconds: waitMs === null ? null : waitMs / 1_000,
    period_seconds: periodMs / 1_000
  })
  const use = limits.map(({ marketTypes, limit, used, need }) => ({
    market_types: marketTypes,
    limit: limit.name,
    stated: limit.weight,
    window_seconds: limit.perMs / 1_000,
    used,
    need_ratio: Math.round(need * 100) / 100
  }))
  return { accounts, use, lateness: { orders: late(lateness.orders), balances: late(lateness.balances) } }
}

export default routes
