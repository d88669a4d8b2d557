import { readFile, writeFile } from 'node:fs/promises'
import { ConfigError, loadConfig } from '../config.ts'

/** An address to connect to. */
export interface ProbeAddress {
  host: string
  port: number
}

const SETTINGS = ['HOST', 'PORT', 'PROBE_PORT', 'PROBE_PORT_PATH']

/**
 * Where the service with these settings answers probes: the probe port, or the main port when that is `off`. A port that
 * the system chose is in the file of `PROBE_PORT_PATH`. The host may be `0.0.0.0` or `::`: a connection to it reaches
 * this machine.
 * @throws {ConfigError} when a setting breaks its rule, or the port is not recorded
 */
export async function probeAddress(environment: Record<string, string | undefined>): Promise<ProbeAddress> {
  const given = Object.fromEntries(SETTINGS.map(key => [key, environment[key]]))
  const { HOST: host, PORT, PROBE_PORT, PROBE_PORT_PATH } = loadConfig(given)
  const port = PROBE_PORT === 'off' ? PORT : PROBE_PORT
  return { host, port: port === 0 ? await recordedPort(PROBE_PORT_PATH) : port }
}

/** Records the port of the probes in a file, for `probeAddress`. */
export async function recordProbePort(path: string, port: number): Promise<void> {
  await writeFile(path, `${port}\n`)
}

async function recordedPort(path: string | undefined): Promise<number> {
  if (path === undefined) throw new ConfigError('PROBE_PORT_PATH must be set when the port of the probes is 0')
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`PROBE_PORT_PATH must name a file that the service has written: ${path}`, { cause })
  })
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new ConfigError(`PROBE_PORT_PATH must name a file with a port: ${path}`)
  }
  return port
}
