import { isIP } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { clientAddress, isInNetworks, isNetworkList, networkOf, parseAddress } from '../src/client-address.ts'
import { codePoint } from './support/code-point.ts'

const RUNS = 1_000

t.test('an address has one spelling, without port, brackets and zone', async t => {
  const spellings: [text: string, address: string][] = [
    ['192.0.2.1', '192.0.2.1'],
    [' 192.0.2.1 ', '192.0.2.1'],
    ['192.0.2.1:443', '192.0.2.1'],
    ['192.0.2.1:0', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['[::ffff:192.0.2.1]:443', '192.0.2.1'],
    ['::ffff:0.0.0.0', '0.0.0.0'],
    ['::ffff:255.255.255.255', '255.255.255.255'],
    ['2001:db8::1', '2001:db8::1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:65535', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:5001', 'fe80::1'],
    ['::', '::'],
    ['::1', '::1']
  ]
  for (const [text, address] of spellings) t.equal(parseAddress(text), address, text)
})

t.test('a text that is not an address is rejected', async t => {
  const texts = [
    undefined,
    '',
    ' ',
    'unknown',
    '_hidden',
    'localhost',
    'client.example:80',
    '192.0.2',
    '192.0.2.256',
    '192.0.2.01',
    '0x7f.0.0.1',
    '2130706433',
    '127.1',
    '192.0.2.1:',
    '192.0.2.1:port',
    '192.0.2.1:123456',
    '192.0.2.1/24',
    '[192.0.2.1]',
    '[192.0.2.1]:80',
    '2001:db8::1::2',
    '[2001:db8::1',
    '2001:db8::1]',
    '[2001:db8::1]80',
    '[]',
    'for=192.0.2.1',
    '"192.0.2.1"',
    '192.0.2.1, 192.0.2.2',
    '192.0.2.1\u0000',
    '192.0.2.1\nx',
    `fe80::1%${'x'.repeat(200)}`,
    '1'.repeat(100_000)
  ]
  for (const text of texts) t.equal(parseAddress(text), undefined, String(text).slice(0, 60))
})

t.test('every spelling of a generated address is read as the same one', async t => {
  const forms = (address: string) => {
    const isV4 = isIP(address) === 4
    return [
      address.toUpperCase(),
      ...(isV4
        ? [`${address}:80`, `::ffff:${address}`, `[::ffff:${address}]:80`]
        : [`[${address}]`, `[${address}]:80`, `${address}%1`])
    ]
  }
  const property = fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), text => {
    const address = parseAddress(text)
    if (address === undefined || address.length > 39 || isIP(address) === 0) throw new Error(`${text} is ${address}`)
    for (const form of [address, ...forms(text), ...forms(address)]) {
      if (parseAddress(form) !== address) throw new Error(`${form} is ${parseAddress(form)}, ${text} is ${address}`)
    }
  })
  const result = fc.check(property, { numRuns: RUNS })
  t.equal(result.failed ? fc.defaultReportMessage(result) : undefined, undefined)
})

t.test('the client is the farthest hop that is an address, with any other reports of proxies', async t => {
  t.equal(clientAddress(['::ffff:127.0.0.1']), '127.0.0.1')
  t.equal(clientAddress(['10.0.0.1', '[2001:DB8::1]:443']), '2001:db8::1')
  t.equal(clientAddress(['10.0.0.1', '192.0.2.9:80', 'unknown']), '192.0.2.9')
  t.equal(clientAddress(['10.0.0.1', '']), '10.0.0.1')
  t.equal(clientAddress([undefined]), 'unknown', 'a closed connection')
  const property = fc.property(
    fc.array(fc.oneof(fc.string(), fc.string({ unit: codePoint }), fc.ipV6(), fc.ipV4())),
    hops => {
      const address = clientAddress(['10.0.0.1', ...hops])
      if (isIP(address) === 0 || address.length > 39) throw new Error(address)
    }
  )
  const result = fc.check(property, { numRuns: RUNS })
  t.equal(result.failed ? fc.defaultReportMessage(result) : undefined, undefined)
})

t.test('one client may use a whole /64 of IPv6', async t => {
  t.equal(networkOf('192.0.2.1'), '192.0.2.1')
  t.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(networkOf('2001:db8::1'), '2001:db8::/64')
  t.equal(networkOf('::1'), '::/64')
  t.equal(networkOf('unknown'), 'unknown')
})

t.test('the setting is a list of addresses and networks', async t => {
  for (const list of ['127.0.0.1', '10.0.0.0/8, ::1', '2001:db8::/32', '10.0.0.0/255.0.0.0', '10.0.0.1 10.0.0.2', '']) {
    t.ok(isNetworkList(list), list)
  }
  for (const list of [
    'true',
    'loopback',
    '10.0.0',
    '10.0.0.0/33',
    '10.0.0.0/0',
    '::/129',
    '::1/x',
    '10.0.0.0/255.0.255.0',
    '::1%eth0',
    '1/2/3'
  ]) {
    t.notOk(isNetworkList(list), list)
  }
})

t.test('an address belongs to the addresses and networks of a list', async t => {
  const rows: [list: string, inside: string[], outside: string[]][] = [
    ['10.1.2.3', ['10.1.2.3'], ['10.1.2.4', '::1']],
    ['10.9.9.9/8', ['10.0.0.0', '10.255.255.255'], ['9.255.255.255', '11.0.0.0']],
    ['192.0.2.0/255.255.255.128', ['192.0.2.127'], ['192.0.2.128']],
    ['128.0.0.0/1', ['200.0.0.1'], ['127.0.0.1', '8000::1']],
    ['2001:db8::/33', ['2001:db8:7fff::1'], ['2001:db8:8000::1', '192.0.2.1']],
    ['::ffff:10.0.0.0/104', ['10.1.2.3'], ['11.1.2.3']],
    ['192.0.2.1, 2001:db8::1', ['192.0.2.1', '2001:db8::1'], ['192.0.2.2', '2001:db8::2', 'unknown', '']]
  ]
  for (const [list, inside, outside] of rows) {
    for (const address of inside) t.equal(isInNetworks(address, list), true, `${address} in ${list}`)
    for (const address of outside) t.equal(isInNetworks(address, list), false, `${address} not in ${list}`)
  }
})
