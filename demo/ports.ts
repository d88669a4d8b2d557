import { once } from 'node:events'
import { createServer } from 'node:net'

/** A client may resolve `localhost` to either. */
const LOOPBACK = ['127.0.0.1', '::1']

/** The port, or `0` (any free one) where another process listens on it. */
export async function portOrAny(port: string): Promise<string> {
  for (const host of LOOPBACK) if (await isTaken(host, Number(port))) return '0'
  return port
}

async function isTaken(host: string, port: number): Promise<boolean> {
  const server = createServer()
  try {
    await once(server.listen({ host, port }), 'listening')
    server.close()
    await once(server, 'close')
    return false
  } catch (err) {
    // A machine without IPv6 does not have the address.
    return err instanceof Error && 'code' in err && err.code === 'EADDRINUSE'
  }
}
