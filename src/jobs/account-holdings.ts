// @FEAT:trading @COMP:job @TYPE:helper
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { CallOptions, ExchangeClient } from '../exchanges/exchange-client.ts'
import type { Holdings } from '../trading/fill-readings.ts'

/** Reads what an account holds on the market of a client. */
export async function readHoldings(client: ExchangeClient, options: () => CallOptions): Promise<Holdings> {
  const hasWallet = CATALOGUE[client.exchange].wallets.includes(client.marketType)
  const from = await client.serverTime(options())
  const balances = hasWallet ? await client.balances(options()) : null
  const positions = await client.positions(options())
  const until = await client.serverTime(options())
  return {
    from,
    until,
    balances: balances?.map(({ asset, total }) => ({ asset, total })) ?? null,
    positions: positions.map(({ symbol, exchangeSymbol, positionSide, quantity, entryPrice, markPrice }) => ({
      ...{ symbol, exchangeSymbol, positionSide, quantity, entryPrice, markPrice }
    }))
  }
}
