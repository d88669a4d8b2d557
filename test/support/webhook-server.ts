import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'

/** A received request. */
interface ReceivedRequest {
  method: string
  /** Path and query. */
  target: string
  headers: IncomingHttpHeaders
  body: string
}

/**
 * The behaviour of the server for one request:
 * - `answer`: a status, headers and a body
 * - `hang`: reads the request and sends nothing until the connection ends
 * - `cut`: ends the connection before an answer, or in the middle of its body
 * - `endless`: status 200 and a body without an end
 */
export type Behaviour =
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string }
  | { kind: 'hang' }
  | { kind: 'cut'; when: 'before' | 'within' }
  | { kind: 'endless' }

/** A receiver on loopback that accepts every request, with behaviours that a test queues. `close` ends every connection. */
export async function startWebhookServer() {
  const received: ReceivedRequest[] = []
  const queued: Behaviour[] = []
  const events = new EventEmitter()

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url: target = '', headers } = request
      received.push({ method, target, headers, body: Buffer.concat(chunks).toString() })
      behave(response, queued.shift() ?? { kind: 'answer', status: 200, body: 'ok' })
      events.emit('request')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')

  return {
    url: `http://127.0.0.1:${address.port}`,
    /** Every request, oldest first. */
    received,
    /** Sets the behaviour of the next requests, in order. */
    queue: (...behaviours: Behaviour[]) => void queued.push(...behaviours),
    /** Resolves when `count` requests have arrived since the start. */
    async receivedCount(count: number): Promise<void> {
      while (received.length < count) await once(events, 'request')
    },
    async close(): Promise<void> {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    }
  }
}

function behave(response: ServerResponse, behaviour: Behaviour): void {
  switch (behaviour.kind) {
    case 'hang':
      return
    case 'answer':
      response.writeHead(behaviour.status, behaviour.headers)
      response.end(behaviour.body ?? '')
      return
    case 'cut':
      if (behaviour.when === 'before') response.destroy()
      else response.writeHead(200, { 'content-length': '1000' }).write('half', () => response.destroy())
      return
    case 'endless': {
      response.writeHead(200)
      const chunk = Buffer.alloc(64 * 1_024, 'x')
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      }
      response.on('drain', more)
      more()
    }
  }
}
