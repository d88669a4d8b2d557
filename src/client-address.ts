import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'

/** An address with its zone has at most 45 characters and the name of an interface, one with a port 8 more. */
const MAX_TEXT = 100
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/
const WITH_PORT = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::\d{1,5})?$/

/** In place of an address where the system has none, as of a connection that is closed already. */
const UNKNOWN_ADDRESS = 'unknown'

/**
 * Reads an address as proxies write it: IPv4 or IPv6, also with a port (`192.0.2.1:443`, `[2001:db8::1]:443`), in
 * brackets, with a zone (`fe80::1%eth0`), or IPv4 in an IPv6 form (`::ffff:192.0.2.1`).
 * @returns one spelling for each address, at most 39 characters: IPv4 with dots, IPv6 as RFC 5952 has it, without port
 * and zone; undefined for every other text
 */
export function parseAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > MAX_TEXT) return undefined
  const given = text.trim()
  if (isIPv4(given)) return given
  if (isIPv6(given)) return canonicalIPv6(given)
  const [, bracketed, plain = ''] = WITH_PORT.exec(given) ?? []
  if (bracketed !== undefined) return isIPv6(bracketed) ? canonicalIPv6(bracketed) : undefined
  return isIPv4(plain) ? plain : undefined
}

/** @param address as `isIPv6` accepts it */
function canonicalIPv6(address: string): string {
  const [withoutZone = ''] = address.split('%')
  // The parser of URLs writes addresses as RFC 5952 has it.
  const canonical = new URL(`http://[${withoutZone}]/`).hostname.slice(1, -1)
  const [, high, low] = MAPPED.exec(canonical) ?? []
  if (high === undefined || low === undefined) return canonical
  const bits = Number.parseInt(high, 16) * 0x1_00_00 + Number.parseInt(low, 16)
  return [24, 16, 8, 0].map(shift => (bits >>> shift) & 0xff).join('.')
}

/**
 * The address of a client, in the spelling of `parseAddress`.
 * @param hops the address of the connection first, then those that trusted proxies report, the client last
 * @returns the farthest hop that is an address; what a proxy reports otherwise is ignored
 */
export function clientAddress(hops: readonly (string | undefined)[]): string {
  return hops.map(parseAddress).findLast(hop => hop !== undefined) ?? UNKNOWN_ADDRESS
}

/** The network that one client may use completely: of IPv6 the /64, of IPv4 the address. `address` as `parseAddress` returns it. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address
  const [head = '', tail = ''] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail.split(':').filter(Boolean)
  const groups = [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return `${canonicalIPv6(`${groups.slice(0, 4).join(':')}::`)}/64`
}

/** Splits a list of addresses and networks at commas and spaces. */
export function networkList(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean)
}

/** Whether each part of a list is an address, or a network with a length of its prefix or an IPv4 mask. */
export function isNetworkList(text: string): boolean {
  return networkList(text).every(one => {
    const [address = '', range, ...rest] = one.split('/')
    const version = isIP(address)
    if (version === 0 || address.includes('%') || rest.length > 0) return false
    if (range === undefined) return true
    if (/^\d{1,3}$/.test(range)) return Number(range) >= 1 && Number(range) <= (version === 4 ? 32 : 128)
    return version === 4 && isIPv4(range) && /^1*0*$/.test(bitsOf(range))
  })
}

/**
 * Whether an address belongs to a list of addresses and networks.
 * @param address as `parseAddress` returns it; another text belongs to no list
 * @param list as `isNetworkList` accepts it
 */
export function isInNetworks(address: string, list: string): boolean {
  if (isIP(address) === 0) return false
  const networks = new BlockList()
  for (const one of networkList(list)) {
    const [network = '', range] = one.split('/')
    const isOld = isIPv4(network)
    networks.addSubnet(network, prefixOf(range, isOld ? 32 : 128), isOld ? 'ipv4' : 'ipv6')
  }
  if (isIPv6(address)) return networks.check(address, 'ipv6')
  // A network of IPv4 addresses may be written in an IPv6 form.
  return networks.check(address, 'ipv4') || networks.check(`::ffff:${address}`, 'ipv6')
}

function prefixOf(range: string | undefined, longest: number): number {
  if (range === undefined) return longest
  return range.includes('.') ? bitsOf(range).replaceAll('0', '').length : Number(range)
}

function bitsOf(mask: string): string {
  return mask
    .split('.')
    .map(part => Number(part).toString(2).padStart(8, '0'))
    .join('')
}
