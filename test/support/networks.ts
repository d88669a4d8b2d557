import type { Test } from 'tap'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { startTestPostgres, type TestPostgres } from './postgres.ts'

/** A private database server, and the address at which a service reaches it. */
export interface ReachedDatabase {
  postgres: TestPostgres
  url: string
}

export interface Network {
  /** The last part of the name of a test. */
  name: string
  start(t: Test): Promise<ReachedDatabase>
}

/**
 * Starts a private server that requires TLS and SCRAM, behind a fault proxy.
 * @param roundTripMs of its network, in milliseconds. Default 0
 */
export async function startDistantPostgres(
  t: Test,
  { roundTripMs = 0 } = {}
): Promise<ReachedDatabase & { proxy: FaultProxy }> {
  const postgres = await startTestPostgres(t, { tls: true })
  const { hostname, port } = new URL(postgres.url)
  const proxy = await startFaultProxy(t, { host: hostname, port: Number(port) })
  await proxy.setConditions({ delayMs: roundTripMs / 2 })
  return { postgres, proxy, url: proxy.url(postgres.url) }
}

/** The networks between a service and its database in which each fault is tested. */
export const networks: Network[] = [
  {
    name: 'on loopback',
    async start(t) {
      const postgres = await startTestPostgres(t)
      return { postgres, url: postgres.url }
    }
  },
  {
    name: 'over TLS with SCRAM at a round trip of 20 ms',
    start: t => startDistantPostgres(t, { roundTripMs: 20 })
  }
]
