// @FEAT:trading @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { TradingReader } from '../src/trading/read/trading-reader.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Reads the collections of trading data, page by page. */
    tradingReader: TradingReader
  }
}

async function tradingReader(app: FastifyInstance, { config }: { config: Config }) {
  app.decorate('tradingReader', new TradingReader(app.db, config.TIME_ZONE))
}

export default fp(tradingReader, { name: 'trading-reader', fastify: '5.x', dependencies: ['db'] })
