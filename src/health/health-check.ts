// @FEAT:health-monitoring @COMP:service @TYPE:core
// The health check of the container: exits with 0 when liveness is 200, else with 1. It prints one line.
import { get } from 'node:http'
import { ConfigError } from '../config.ts'
import { errorMessage } from '../log/error-fields.ts'
import { printUncaught } from '../log/uncaught.ts'
import { probeAddress } from './probe-address.ts'

/** Less than the time-out of the container platform, which kills the process without a reason. */
const DEADLINE_MS = 1_500

async function liveness(): Promise<{ alive: boolean; line: string }> {
  const address = await probeAddress(process.env)
  const at = `/health/live on port ${address.port} of ${address.host}`
  return new Promise(resolve => {
    const request = get({ ...address, path: '/health/live', signal: AbortSignal.timeout(DEADLINE_MS) }, response => {
      response.resume()
      resolve({ alive: response.statusCode === 200, line: `${at} answers ${response.statusCode}` })
    })
    request.on('error', err => resolve({ alive: false, line: `${at} does not answer: ${errorMessage(err)}` }))
  })
}

printUncaught('health check')
try {
  const { alive, line } = await liveness()
  process.stdout.write(`${line}\n`)
  // Not only the exit code: the connection may be kept alive.
  process.exit(alive ? 0 : 1)
} catch (err) {
  if (!(err instanceof ConfigError)) throw err
  process.stdout.write(`${err.message}\n`)
  process.exit(1)
}
