import { createServer } from 'node:http'
import type { Test } from 'tap'

export interface CannedAnswer {
  status: number
  body: string
}

/** A server on loopback that answers every request as it is told; gone with the test. Answers its URL. */
export async function cannedExchange(
  t: Test,
  answerTo: (path: string, query: string) => CannedAnswer
): Promise<string> {
  const server = createServer((request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?')
    const { status, body } = answerTo(path, query)
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
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
