// @FEAT:exchanges @COMP:service @TYPE:core
import type { ExchangeName } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { CircuitState } from './circuit-breaker.ts'
import { ExchangeHost } from './exchange-host.ts'
import type { GatewayOptions, HostOptions } from './host-options.ts'
import type { HostStatus } from './host-status.ts'

/** The state of an exchange: the latest success and error, the worst circuit and the largest skew of its hosts. */
export interface ExchangeStatus extends Omit<HostStatus, 'id' | 'host' | 'uses'> {
  exchange: ExchangeName
  hosts: HostStatus[]
}

/** A ban that one replica received and all apply. */
export interface ClusterBan {
  exchange: string
  /** The id of the host. */
  host: string
  endsInMs: Millis
}

/** The hosts of one exchange. All clients of the exchange share them, and with them limits, circuit and clock skew. */
export class ExchangeGateway {
  readonly exchange: ExchangeName
  readonly #options: GatewayOptions
  readonly #hosts = new Map<string, ExchangeHost>()
  readonly #monotonic: () => number
  /** Ends of the bans by the id of the host, also of hosts that are not made yet. */
  #bannedUntil: ReadonlyMap<string, Millis> = new Map()

  constructor(options: GatewayOptions) {
    this.exchange = options.exchange
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  /** The host with this id, made by the first call. Later calls get the same host and their other options are ignored. */
  host(options: HostOptions): ExchangeHost {
    const id = options.id ?? options.baseUrl
    const known = this.#hosts.get(id)
    if (known !== undefined) return known
    const host = new ExchangeHost(this.#options, options)
    host.blockClusterFor((this.#bannedUntil.get(id) ?? 0) - this.#monotonic())
    this.#hosts.set(id, host)
    return host
  }

  /** Replaces the bans of the cluster: a host that is not among them is not banned by it. */
  applyBans(bans: readonly ClusterBan[]): void {
    const now = this.#monotonic()
    this.#bannedUntil = new Map(bans.map(({ host, endsInMs }) => [host, now + endsInMs]))
    for (const [id, host] of this.#hosts) host.blockClusterFor((this.#bannedUntil.get(id) ?? 0) - now)
  }

  /** Reads counters; makes no call. */
  status(): ExchangeStatus {
    const hosts = [...this.#hosts.values()].map(host => host.status())
    const latestError = hosts.reduce<HostStatus | null>(
      (latest, host) => ((host.lastErrorAt ?? 0) > (latest?.lastErrorAt ?? 0) ? host : latest),
      null
    )
    const latestHost = hosts.reduce<HostStatus | null>(
      (latest, host) => ((host.lastSuccessAt ?? 0) >= (latest?.lastSuccessAt ?? 0) ? host : latest),
      null
    )
    const skews = hosts.map(host => host.clockSkewMs).filter(skew => skew !== null)
    return {
      exchange: this.exchange,
      lastSuccessAt: latestOf(hosts.map(host => host.lastSuccessAt)),
      latencyMs: latestHost?.latencyMs ?? null,
      lastErrorAt: latestError?.lastErrorAt ?? null,
      lastErrorCode: latestError?.lastErrorCode ?? null,
      lastExchangeCode: latestError?.lastExchangeCode ?? null,
      clockSkewMs: skews.length === 0 ? null : skews.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)),
      circuit: worstOf(hosts.map(host => host.circuit)),
      blockedForMs: Math.max(0, ...hosts.map(host => host.blockedForMs)),
      hosts
    }
  }
}

function latestOf(times: readonly (Millis | null)[]): Millis | null {
  return times.reduce((latest, at) => (at !== null && at > (latest ?? 0) ? at : latest), null)
}

function worstOf(states: readonly CircuitState[]): CircuitState {
  if (states.includes('open')) return 'open'
  return states.includes('half_open') ? 'half_open' : 'closed'
}
