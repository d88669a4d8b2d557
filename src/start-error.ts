/**
 * The service cannot start for a reason outside of it. The message is one sentence for the operator, which names the
 * setting. The process prints it as `start: <message>`, and exits with 1.
 */
export class StartError extends Error {
  override name = 'StartError'
}

/** A port of the service, and the settings that it comes from. */
export interface PortSettings {
  setting: 'PORT' | 'PROBE_PORT' | 'METRICS_PORT'
  port: number
  hostSetting: 'HOST' | 'METRICS_HOST'
  host: string
}

/**
 * Why a port cannot be listened on.
 * @param code of the system's error, such as `EADDRINUSE`
 */
export function portError(
  { setting, port, hostSetting, host }: PortSettings,
  code: string,
  cause?: unknown
): StartError {
  const reasons: Record<string, string> = {
    EADDRINUSE: `${setting} ${port} on ${host} is in use: stop the process that uses it, or set another ${setting}`,
    EACCES: `${setting} ${port} on ${host} is not permitted for this user: set a ${setting} above 1023`
  }
  for (const code of ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL', 'ENOTFOUND', 'EAI_AGAIN']) {
    reasons[code] = `${hostSetting} ${host} is not an address of this machine (${code}): set another ${hostSetting}`
  }
  return new StartError(reasons[code] ?? `${setting} ${port} on ${host} cannot be listened on: ${code}`, { cause })
}
