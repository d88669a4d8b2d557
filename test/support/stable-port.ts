import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { errorCode } from '../../src/database/error-code.ts'

/**
 * Below the ephemeral ports, which outgoing connections of other processes may occupy while the server does not listen.
 */
const PORTS = { min: 20_000, max: 30_000 }

/**
 * Lets a server listen on a free port of 127.0.0.1 that remains available for it while it does not listen.
 * @returns the port
 */
export async function listenOnStablePort(server: Server): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.min, PORTS.max)
    server.listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
      return port
    } catch (err) {
      if (errorCode(err) !== 'EADDRINUSE') throw err
    }
  }
}

/** A free port of 127.0.0.1 that remains available for a server which is stopped and started again. */
export async function stablePort(): Promise<number> {
  const server = createServer()
  const port = await listenOnStablePort(server)
  server.close()
  await once(server, 'close')
  return port
}
