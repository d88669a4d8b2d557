import t from 'tap'
import type { Account } from '../../src/accounts/account.ts'
import { ClientCache } from '../../src/cache/client-cache.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'

const account = (accountId: string, exchange: Account['exchange'] = 'BINANCE', version = '1'): Account => ({
  accountId,
  userId: '1',
  name: accountId,
  exchange,
  isTestnet: false,
  state: 'ok',
  version
})
// No method of a client is called: its identity is sufficient.
const client = () => ({}) as ExchangeClient

t.test('a client is created once, also for concurrent callers', async t => {
  const cache = new ClientCache({ max: 10, ttlSeconds: 60 })
  let made = 0
  const make = async () => {
    made++
    return client()
  }
  const [first, second] = await Promise.all([1, 2].map(() => cache.getOrMake(account('1'), 'SPOT', make)))
  t.equal(first, second)
  t.equal(await cache.getOrMake(account('1'), 'SPOT', make), first)
  t.equal(made, 1)
  await cache.getOrMake(account('1'), 'FUTURES', make)
  await cache.getOrMake(account('1', 'BINANCE', '2'), 'SPOT', make)
  t.equal(made, 3, 'each market has its own, and so has each version of the credentials')
})

t.test('a failed creation is not cached', async t => {
  const cache = new ClientCache({ max: 10, ttlSeconds: 60 })
  await t.rejects(cache.getOrMake(account('1'), 'SPOT', () => Promise.reject(new Error('no'))))
  t.equal(cache.stats().total_cached_clients, 0)
  t.ok(await cache.getOrMake(account('1'), 'SPOT', async () => client()))
})

t.test('the statistics have total, active and expired clients', async t => {
  let now = 1_000
  const cache = new ClientCache({ max: 3, ttlSeconds: 60, now: () => now })
  const make = async () => client()
  await cache.getOrMake(account('1'), 'SPOT', make)
  now += 59_000
  await cache.getOrMake(account('2'), 'SPOT', make)
  const limits = { cache_max_size: 3, cache_ttl_seconds: 60 }
  t.strictSame(cache.stats(), { total_cached_clients: 2, active_clients: 2, expired_clients: 0, ...limits })
  now += 1_001
  t.strictSame(cache.stats(), { total_cached_clients: 2, active_clients: 1, expired_clients: 1, ...limits })
  for (const id of ['3', '4', '5']) await cache.getOrMake(account(id), 'SPOT', make)
  t.equal(cache.stats().total_cached_clients, 3, 'no more than the limit')
})

t.test('a clear drops the clients that match every part of its filter', async t => {
  const filled = async () => {
    const cache = new ClientCache({ max: 10, ttlSeconds: 60 })
    const make = async () => client()
    await cache.getOrMake(account('1'), 'SPOT', make)
    await cache.getOrMake(account('1'), 'FUTURES', make)
    await cache.getOrMake(account('2', 'UPBIT'), 'SPOT', make)
    return cache
  }
  for (const [filter, count] of [
    [{}, 3],
    [{ exchange: 'BINANCE' }, 2],
    [{ marketType: 'SPOT' }, 2],
    [{ exchange: 'BINANCE', marketType: 'SPOT' }, 1],
    [{ exchange: 'UPBIT', marketType: 'FUTURES' }, 0]
  ] as const) {
    const cache = await filled()
    t.equal(cache.clear(filter, { dryRun: true }), count, JSON.stringify(filter))
    t.equal(cache.stats().total_cached_clients, 3, 'a count clears nothing')
    t.equal(cache.clear(filter), count)
    t.equal(cache.stats().total_cached_clients, 3 - count)
  }
  const cache = await filled()
  cache.forget('1')
  t.equal(cache.stats().total_cached_clients, 1)
})
