// The process of a control server: it answers every request at once. It ends when its standard input ends.
import { once } from 'node:events'
import { createServer } from 'node:http'

const server = createServer((_request, response) => response.end('{}')).listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
if (typeof address !== 'object' || !address) throw new Error('no address')
process.stdout.write(`http://127.0.0.1:${address.port}\n`)
await once(process.stdin.resume(), 'end')
process.exit(0)
