import { BlockList, isIP } from 'node:net'

/** RFC 1918, RFC 4193, link-local and loopback addresses. */
const networks = new BlockList()
networks.addSubnet('10.0.0.0', 8)
networks.addSubnet('172.16.0.0', 12)
networks.addSubnet('192.168.0.0', 16)
networks.addSubnet('169.254.0.0', 16)
networks.addSubnet('127.0.0.0', 8)
networks.addSubnet('fc00::', 7, 'ipv6')
networks.addSubnet('fe80::', 10, 'ipv6')
networks.addAddress('::1', 'ipv6')

/** Names of one label, as containers have, and the ends of names that are never public (RFC 6762, RFC 8375, Kubernetes). */
const PRIVATE_NAME = /^[a-z0-9_-]+$|\.(internal|local|localhost|lan|home\.arpa|svc)$/i

/**
 * Whether a host belongs to a private network: by its address, or by a name that has no public address. No name is
 * resolved.
 * @param host as `URL.hostname` gives it, an IPv6 address in brackets
 */
export function isPrivateHost(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1')
  const family = isIP(address)
  return family === 0 ? PRIVATE_NAME.test(host) : networks.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
