// A bare node:http server with a constant answer: the baseline of every comparison.
import { createServer } from 'node:http'

const body = '{"status":"alive","timestamp":"2026-11-23T12:00:00.000Z"}'
const headers = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'content-length': Buffer.byteLength(body)
}

createServer((_request, response) => {
  response.writeHead(200, headers)
  response.end(body)
}).listen(Number(process.env.PORT), '127.0.0.1')
