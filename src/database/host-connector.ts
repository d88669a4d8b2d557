import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { DatabaseHost, DatabaseTarget } from './database-url.ts'
import { ConnectError } from './failure.ts'
import { isRefusedParameter } from './session-settings.ts'

/** A host that gave no session is tried after the others for this long, in milliseconds. */
const UNREACHABLE_MS = 10_000
/** A host whose sessions have other attributes than asked for is left out for this long, in milliseconds. */
const UNSUITABLE_MS = 1_000

/** Message `SSLRequest` of the protocol: its length and its code. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])
const TLS_ACCEPTED = 'S'
const TLS_NOT_SUPPORTED = 'N'

/** Kept beyond the life of a client: the health check makes a new one after each failure. Monotonic milliseconds. */
const unreachableUntil = new WeakMap<DatabaseHost, number>()
const unsuitableUntil = new WeakMap<DatabaseHost, number>()

/**
 * Opens the sockets of a client, with TLS where the target asks for it, and owns them until they are closed. Each
 * socket has an `error` listener for its whole life, so no error of a socket can end the process.
 */
export class HostConnector {
  readonly #target: DatabaseTarget
  readonly #timeoutMs: number
  /** The outermost socket of each connection: destroying the one below TLS leaves TLS behind. */
  readonly #connections = new Set<{ socket: Socket }>()
  readonly #onSession: () => void
  readonly #onRefusedParameter: () => void
  #destroyed = false

  /**
   * @param timeoutMs of one attempt on one host, TLS included, in milliseconds
   * @param onSession called each time when the server has accepted a session
   * @param onRefusedParameter called when the server has refused a parameter of the start of a session
   */
  constructor(
    target: DatabaseTarget,
    timeoutMs: number,
    onSession: () => void = () => undefined,
    onRefusedParameter: () => void = () => undefined
  ) {
    this.#target = target
    this.#timeoutMs = timeoutMs
    this.#onSession = onSession
    this.#onRefusedParameter = onRefusedParameter
  }

  /** Number of sockets that are not closed, those that are still connecting included. */
  get size(): number {
    return this.#connections.size
  }

  /** The bytes that each connection has received; of one with TLS those that were decrypted. */
  received(): ReadonlyMap<object, number> {
    return new Map([...this.#connections].map(connection => [connection, connection.socket.bytesRead]))
  }

  /**
   * Connects to the first host that accepts, in the order of the URL; hosts that failed lately come last. The user of
   * the socket emits on it `session` when the server has accepted the session, or `unsuitable` when the session has
   * other attributes than asked for. A host without a session comes last for ten seconds, an unsuitable one is left
   * out for one second.
   * @throws {ConnectError} when no host accepts
   */
  async connect(): Promise<Socket> {
    let failure = new ConnectError('UNSUITABLE', 'no host of the URL has sessions with the target_session_attrs')
    for (const host of this.#candidates()) {
      // Otherwise the hosts that were not tried would count as unreachable.
      if (this.#destroyed) throw new ConnectError('CLOSED', 'the client is closed')
      try {
        return await this.#open(host, this.#target.tls.mode !== 'disable' && !('path' in host), this.#timeoutMs)
      } catch (err) {
        setUnreachable(host)
        failure = ConnectError.from(err)
      }
    }
    throw failure
  }

  /** Closes every socket at once; later attempts to connect fail. Idempotent. */
  destroy(): void {
    this.#destroyed = true
    for (const { socket } of this.#connections) socket.destroy()
  }

  #candidates(): DatabaseHost[] {
    const now = performance.now()
    const isUnreachable = (host: DatabaseHost) => (unreachableUntil.get(host) ?? 0) > now
    const suitable = this.#target.hosts.filter(host => (unsuitableUntil.get(host) ?? 0) <= now)
    return [...suitable.filter(host => !isUnreachable(host)), ...suitable.filter(isUnreachable)]
  }

  async #open(host: DatabaseHost, tls: boolean, timeoutMs: number): Promise<Socket> {
    const endMs = performance.now() + timeoutMs
    if (this.#destroyed) throw new ConnectError('CLOSED', 'the client is closed')
    const raw = connect(host)
    const connection = { socket: raw }
    this.#connections.add(connection)
    raw.on('error', () => undefined).once('close', () => this.#connections.delete(connection))
    const timer = setTimeout(
      () =>
        connection.socket.destroy(new ConnectError('ETIMEDOUT', 'the database did not accept a connection in time')),
      timeoutMs
    )
    try {
      await emitted(raw, 'connect')
      if (tls && (await this.#acceptsTls(raw))) {
        connection.socket = connectTls({ socket: raw, ...tlsOptions(host, this.#target) })
        connection.socket.on('error', () => undefined)
        await emitted(connection.socket, 'secureConnect')
      }
    } catch (err) {
      connection.socket.destroy()
      // As libpq: with `prefer`, a server whose TLS does not work is used without TLS.
      const leftMs = endMs - performance.now()
      const withoutTls = connection.socket !== raw && this.#target.tls.mode === 'prefer' && leftMs > 0
      if (withoutTls) return await this.#open(host, false, leftMs)
      throw err
    } finally {
      clearTimeout(timer)
    }
    let session = false
    const onBytes = (bytes: Buffer) => {
      if (isRefusedParameter(bytes)) this.#onRefusedParameter()
    }
    // The server sends nothing before the driver has sent the start of the session.
    connection.socket.on('data', onBytes)
    // The driver names the host in the messages of its errors.
    return Object.assign(connection.socket, 'path' in host ? { host: host.path, port: 0 } : host)
      .once('session', () => {
        session = true
        connection.socket.off('data', onBytes)
        unreachableUntil.delete(host)
        this.#onSession()
      })
      .once('unsuitable', () => unsuitableUntil.set(host, performance.now() + UNSUITABLE_MS))
      .once('close', () => {
        if (!session) setUnreachable(host)
      })
  }

  /**
   * Asks the server for TLS.
   * @returns false when the server has none and `prefer` allows to go on without
   */
  async #acceptsTls(raw: Socket): Promise<boolean> {
    raw.write(SSL_REQUEST)
    // One byte. More would be bytes from before the encryption that pass for encrypted ones (CVE-2021-23222).
    const answer = String(await emitted(raw, 'data'))
    if (answer === TLS_ACCEPTED) return true
    if (answer === TLS_NOT_SUPPORTED && this.#target.tls.mode === 'prefer') return false
    throw new ConnectError('TLS_REFUSED', 'the server does not accept TLS')
  }
}

function setUnreachable(host: DatabaseHost): void {
  unreachableUntil.set(host, performance.now() + UNREACHABLE_MS)
}

function tlsOptions(host: DatabaseHost, { tls: { mode, ca } }: DatabaseTarget): ConnectionOptions {
  const name = 'host' in host ? host.host : ''
  return {
    host: name,
    ...(isIP(name) === 0 && { servername: name }),
    ...(ca !== undefined && { ca }),
    rejectUnauthorized: mode === 'verify-ca' || mode === 'verify-full',
    ...(mode === 'verify-ca' && { checkServerIdentity: () => undefined })
  }
}

/** Resolves with the first argument of an event; rejects when the socket fails or closes before it. */
function emitted(socket: Socket, event: 'connect' | 'secureConnect' | 'data'): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onClose = () => settle(() => reject(new ConnectError('ECONNRESET', 'the connection was closed')))
    const onError = (err: Error) => settle(() => reject(err))
    const onEvent = (value: unknown) => settle(() => resolve(value))
    const settle = (done: () => void) => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose)
      done()
    }
    socket.on(event, onEvent).on('error', onError).on('close', onClose)
  })
}
