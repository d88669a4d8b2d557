/**
 * The only parser of `DATABASE_URL`. It follows the connection URIs of libpq, with these differences: it consults no
 * PG* variable; a comma separates hosts only where it is not percent-encoded; what libpq resolves by precedence or by
 * a guess (a value given twice, several `@`, no host) is an error. An error never repeats a part of the URL.
 */
import { isIPv6 } from 'node:net'
import { userInfo } from 'node:os'
import { readRootCertificates } from './root-certificates.ts'

/** How much of TLS is demanded, weakest first. The meanings are those of libpq's `sslmode`. */
type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'

/** Which servers are accepted. `primary`: not a standby. `read-write`: neither a standby nor read-only by default. */
type SessionAttributes = 'any' | 'read-write' | 'primary'

/** A TCP address (an IPv6 address has no brackets; port 1 to 65535), or the path of a unix socket's file. */
export type DatabaseHost = { host: string; port: number } | { path: string }

/** What a `DATABASE_URL` says, decoded and complete. */
export interface DatabaseTarget {
  /** In the order of the URL. */
  hosts: readonly [DatabaseHost, ...DatabaseHost[]]
  user: string
  /** Never empty; undefined: none was given. */
  password: string | undefined
  database: string
  /** Applies to TCP only. `ca`: PEM text of `sslrootcert`; undefined: the system's roots, where `mode` verifies. */
  tls: { mode: TlsMode; ca: string | undefined }
  targetSessionAttrs: SessionAttributes
  /** From `application_name`; undefined: the service's own name is used. */
  applicationName: string | undefined
}

/** The rule that a URL breaks. The message never contains a part of the URL. */
export class DatabaseUrlError extends Error {
  override name = 'DatabaseUrlError'
}

const MAX_LENGTH = 4096
const DEFAULT_PORT = 5432

/** The longest path of a unix socket, in bytes: `sun_path` on Linux less its closing zero. */
const SOCKET_PATH_BYTES = 107

const TLS_MODES: readonly TlsMode[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full']
const SESSION_ATTRIBUTES: readonly SessionAttributes[] = ['any', 'read-write', 'primary']
const CHANNEL_BINDINGS = ['disable', 'prefer', 'require']

const PARAMETERS = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'sslmode',
  'sslrootcert',
  'channel_binding',
  'target_session_attrs',
  'application_name',
  'connect_timeout'
] as const
type ParameterName = (typeof PARAMETERS)[number]
type QueryParameters = ReadonlyMap<ParameterName, string>

/** Parameters of libpq 18 and of its URIs that are not supported. Only these names may appear in an error. */
const UNSUPPORTED_PARAMETERS: ReadonlySet<string> = new Set([
  'client_encoding',
  'fallback_application_name',
  'gssdelegation',
  'gssencmode',
  'gsslib',
  'hostaddr',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'load_balance_hosts',
  'max_protocol_version',
  'min_protocol_version',
  'oauth_client_id',
  'oauth_client_secret',
  'oauth_issuer',
  'oauth_scope',
  'options',
  'passfile',
  'replication',
  'require_auth',
  'requirepeer',
  'requiressl',
  'scram_client_key',
  'scram_server_key',
  'service',
  'servicefile',
  'ssl',
  'ssl_max_protocol_version',
  'ssl_min_protocol_version',
  'sslcert',
  'sslcertmode',
  'sslcompression',
  'sslcrl',
  'sslcrldir',
  'sslkey',
  'sslkeylogfile',
  'sslnegotiation',
  'sslpassword',
  'sslsni',
  'tcp_user_timeout'
])

/** Letters of every script, because a resolver may know internationalised names. */
const HOST_NAME = /^[\p{L}\p{M}\p{N}._-]{1,253}$/u

/** A host of the authority, which may be in brackets, and its port. */
const HOST_AND_PORT = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/

const HOST_RULE =
  'a host must be a name, an IPv4 address, an IPv6 address in brackets, or a percent-encoded socket directory, with unencoded commas between hosts'
const PORT_RULE = 'port must be an integer from 1 to 65535'

/**
 * Parses a `DATABASE_URL` of at most 4096 characters, and reads the file of `sslrootcert`. Defaults: port 5432, the
 * user of the operating system, a database named like the user, `sslmode=prefer`, `target_session_attrs=any`.
 * @param osUserName the user of the operating system; undefined when it has no name
 * @throws {DatabaseUrlError} naming the first rule that the URL breaks
 */
export function parseDatabaseUrl(url: string, osUserName = currentOsUserName): DatabaseTarget {
  const { credentials, hosts, path, query } = split(url)
  const parameters = readParameters(query)
  const [, userText = '', passwordText = ''] = /^([^:]*):?(.*)$/s.exec(credentials) ?? []
  const user = decode(given(parameters, 'user', userText)) || osUserName()
  if (user === undefined) {
    throw new DatabaseUrlError('user must be given, because the user of the operating system has no name')
  }
  choiceOf(parameters, 'channel_binding', CHANNEL_BINDINGS)
  checkConnectTimeout(parameters)
  return {
    hosts: readHosts(hosts, parameters),
    user,
    password: decode(given(parameters, 'password', passwordText)) || undefined,
    database: decode(given(parameters, 'dbname', path)) || user,
    tls: readTls(parameters),
    targetSessionAttrs: choiceOf(parameters, 'target_session_attrs', SESSION_ATTRIBUTES) ?? 'any',
    applicationName: readApplicationName(parameters)
  }
}

function currentOsUserName(): string | undefined {
  try {
    return userInfo().username || undefined
  } catch {
    // A container's user need not have a name.
    return undefined
  }
}

/** Splits a URL into its parts, still percent-encoded. */
function split(url: string): { credentials: string; hosts: string; path: string; query: string } {
  if (url.length > MAX_LENGTH) throw new DatabaseUrlError(`must have at most ${MAX_LENGTH} characters`)
  // With this flag a pair of surrogates is one character of another class.
  if (/\p{Surrogate}/u.test(url)) throw new DatabaseUrlError('must be well-formed Unicode')
  const rest = /^postgres(?:ql)?:\/\/(.*)$/s.exec(url)?.[1]
  if (rest === undefined) throw new DatabaseUrlError('must begin with postgres:// or postgresql://')
  if (/[\s\p{Cc}#]/u.test(rest)) {
    throw new DatabaseUrlError('must percent-encode spaces, control characters and #')
  }
  const [, authority = '', path = '', query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? []
  const at = authority.indexOf('@')
  // An unencoded / or ? in a password moves the rest of it, with the @, out of the authority. Taken for the name of a
  // database, it would be in the logs of the server.
  if (rest.indexOf('@', at === -1 ? 0 : at + 1) !== -1) {
    throw new DatabaseUrlError(
      'must have at most one unencoded @, before the hosts: percent-encode @, / and ? in user and password, and @ elsewhere'
    )
  }
  return { credentials: authority.slice(0, Math.max(at, 0)), hosts: authority.slice(at + 1), path, query }
}

/** Reads the query into values that are still percent-encoded. */
function readParameters(query: string): QueryParameters {
  const parameters = new Map<ParameterName, string>()
  // Like libpq, ignore one & at the end.
  for (const pair of query === '' ? [] : query.replace(/&$/, '').split('&')) {
    const [key = '', value, ...more] = pair.split('=')
    if (value === undefined || more.length > 0) {
      throw new DatabaseUrlError(
        'parameters must have the form name=value, with & between them and every other = percent-encoded'
      )
    }
    const text = decode(key)
    const name = PARAMETERS.find(known => known === text)
    if (name === undefined) {
      throw new DatabaseUrlError(
        UNSUPPORTED_PARAMETERS.has(text)
          ? `the parameter ${text} is not supported`
          : 'a parameter is not supported; its name is not shown, because libpq does not define it'
      )
    }
    if (parameters.has(name)) throw givenTwice(name)
    parameters.set(name, value)
  }
  return parameters
}

function givenTwice(name: ParameterName): DatabaseUrlError {
  return new DatabaseUrlError(`${name} must be given only once`)
}

/** The encoded value of a part of the URL that may be a parameter instead. Empty: not given. */
function given(parameters: QueryParameters, name: ParameterName, part: string): string {
  const parameter = parameters.get(name)
  if (part !== '' && parameter !== undefined) throw givenTwice(name)
  return part || (parameter ?? '')
}

function decode(text: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw new DatabaseUrlError('every % must begin a percent-encoded UTF-8 character; % itself is %25')
  }
  if (decoded.includes('\0')) throw new DatabaseUrlError('must not contain the character 0')
  return decoded
}

function choiceOf<T extends string>(
  parameters: QueryParameters,
  name: ParameterName,
  values: readonly T[]
): T | undefined {
  const parameter = parameters.get(name)
  if (parameter === undefined) return undefined
  const text = decode(parameter)
  const value = values.find(one => one === text)
  if (value === undefined) throw new DatabaseUrlError(`${name} must be one of ${values.join(', ')}`)
  return value
}

function readHosts(text: string, parameters: QueryParameters): DatabaseTarget['hosts'] {
  const pairs = text.split(',').map(splitPort)
  const named = pairs.length > 1 || pairs[0]?.host !== ''
  if (named && parameters.has('host')) throw givenTwice('host')
  const withPort = pairs.some(({ port }) => port !== '')
  if (withPort && parameters.has('port')) throw givenTwice('port')

  const hosts = named ? pairs.map(({ host }) => host) : (parameters.get('host') ?? '').split(',')
  const ports = (withPort ? pairs.map(({ port }) => port) : (parameters.get('port') ?? '').split(',')).map(readPort)
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new DatabaseUrlError('port must be one port, or one for each host')
  }
  const [first, ...others] = hosts.map((host, i) => readHost(host, ports[i] ?? ports[0] ?? DEFAULT_PORT))
  if (first === undefined) throw new DatabaseUrlError(HOST_RULE)
  return [first, ...others]
}

function splitPort(text: string): { host: string; port: string } {
  const [, host, port = ''] = HOST_AND_PORT.exec(text) ?? []
  if (host === undefined) throw new DatabaseUrlError(HOST_RULE)
  return { host, port }
}

function readPort(text: string): number {
  const digits = decode(text)
  if (digits === '') return DEFAULT_PORT
  const port = /^[0-9]{1,5}$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) throw new DatabaseUrlError(PORT_RULE)
  return port
}

function readHost(text: string, port: number): DatabaseHost {
  const bracketed = /^\[(.*)\]$/.exec(text)?.[1]
  const host = bracketed ?? decode(text)
  if (host === '') throw new DatabaseUrlError('must name a host or a socket directory, and no host may be empty')
  if (bracketed === undefined && host.startsWith('/')) return { path: socketPath(host, port) }
  const isAddress = isIPv6(host) && !host.includes('%')
  if (!isAddress && (bracketed !== undefined || !HOST_NAME.test(host))) throw new DatabaseUrlError(HOST_RULE)
  return { host, port }
}

function socketPath(directory: string, port: number): string {
  const path = `${directory}/.s.PGSQL.${port}`
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    throw new DatabaseUrlError(`the path of a unix socket must have at most ${SOCKET_PATH_BYTES} bytes`)
  }
  return path
}

function readTls(parameters: QueryParameters): DatabaseTarget['tls'] {
  const path = decode(parameters.get('sslrootcert') ?? '')
  // The defaults are those of libpq.
  const mode = choiceOf(parameters, 'sslmode', TLS_MODES) ?? (path === 'system' ? 'verify-full' : 'prefer')
  if (path === '') return { mode, ca: undefined }
  if (path === 'system') {
    if (mode === 'verify-ca' || mode === 'verify-full') return { mode, ca: undefined }
    throw new DatabaseUrlError('sslrootcert=system requires sslmode verify-ca or verify-full')
  }
  // libpq accepts it and verifies nothing that matters: prefer goes on without TLS.
  if (mode === 'disable' || mode === 'prefer') {
    throw new DatabaseUrlError('sslrootcert requires sslmode require, verify-ca or verify-full')
  }
  const ca = readRootCertificates(path)
  if (ca === undefined) {
    throw new DatabaseUrlError('sslrootcert must be system or a readable file of valid PEM certificates')
  }
  return { mode: mode === 'require' ? 'verify-ca' : mode, ca }
}

function readApplicationName(parameters: QueryParameters): string | undefined {
  const name = decode(parameters.get('application_name') ?? '')
  if (name === '') return undefined
  if (!/^[ -~]{1,63}$/.test(name)) {
    throw new DatabaseUrlError('application_name must be at most 63 printable ASCII characters')
  }
  return name
}

/** Hosted databases put it into their URLs. It has no effect: the service has deadlines of its own. */
function checkConnectTimeout(parameters: QueryParameters): void {
  const text = parameters.get('connect_timeout')
  if (text !== undefined && !/^[1-9][0-9]{0,8}$/.test(decode(text))) {
    throw new DatabaseUrlError('connect_timeout must be a positive integer')
  }
}
