import t from 'tap'
import { isPrivateHost } from '../src/private-host.ts'

t.test('addresses of private networks and names without a public address are private', async t => {
  const hosts = [
    ...['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.0.1', '127.0.0.1', '169.254.1.1'],
    ...['[::1]', '[fd12::1]', '[fe80::1]', '[::ffff:10.0.0.1]'],
    ...['telegram-bot-api', 'localhost', 'bots.internal', 'bots.LOCAL', 'nas.lan', 'nas.home.arpa', 'bots.trading.svc']
  ]
  for (const host of hosts) t.equal(isPrivateHost(host), true, host)
})

t.test('all other addresses and names are public', async t => {
  const hosts = [
    ...['8.8.8.8', '172.32.0.1', '172.15.0.1', '11.0.0.1', '192.169.0.1', '[2001:db8::1]', '[::ffff:8.8.8.8]'],
    ...['api.telegram.org', 'internal.example.com', '10.0.0.1.example.com', 'local.', '', 'a b']
  ]
  for (const host of hosts) t.equal(isPrivateHost(host), false, host)
})
