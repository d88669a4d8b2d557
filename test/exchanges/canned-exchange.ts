import { createServer } from 'node:http'
import type { Test } from 'tap'

export interface CannedAnswer {
  status: number
  headers?: Readonly<Record<string, string>>
  body: string
}

/**
 * Starts a server on loopback that answers every request with what a function returns. It is closed at teardown.
 * @returns its URL
 */
export async function cannedExchange(
  t: Test,
  answerTo: (path: string, query: string) => CannedAnswer
): Promise<string> {
  const server = createServer((request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?')
    const { status, headers, body } = answerTo(path, query)
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return `http://127.0.0.1:${address.port}`
}
