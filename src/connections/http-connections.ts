// @FEAT:health-monitoring @COMP:service @TYPE:core
// The connections of a port: how many there may be, which one is closed in favour of a new one, and how they end.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { SECOND } from '../async/durations.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import { networkOf, parseAddress } from '../client-address.ts'
import type { PortCounts } from './connection-counts.ts'

/**
 * Connections that the kernel accepts for a port before the service does. With Node's own 511 a burst of connections
 * makes others wait a second for their second attempt. The system may allow fewer (`net.core.somaxconn`).
 */
export const ACCEPT_BACKLOG = 4_096

/** How often the deadlines are checked, and the connections swept, in milliseconds. */
const CHECK_MS = SECOND
const HEADERS_TIMEOUT_MS = 10 * SECOND
/** A younger connection is closed in favour of a new one only if all are younger: its request may be on its way. */
const FRESH_MS = SECOND
/** After this time an answer that the client does not read does not protect its connection. */
const UNREAD_EVICTABLE_MS = 5 * SECOND
/** The deadline for reading an answer. */
const UNREAD_TIMEOUT_MS = 60 * SECOND
/** How long a connection that the service has ended waits for the client to close it. */
const ENDED_MS = SECOND
/** While the port closes: what a request that is not complete, or an answer that is not read, gets. */
const CLOSE_GRACE_MS = SECOND / 2
const CLOSE_CHECK_MS = 50
/** The shortest time between two calls of `onFull`. */
const REPORT_MS = 60 * SECOND

/**
 * The deadlines of a server: options of `http.createServer`. Headers have 10 s, or as long as the request; deadlines are
 * checked every second.
 * @param requestTimeoutMs the deadline for headers and body
 */
export function requestDeadlines(requestTimeoutMs: number) {
  return {
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
    requestTimeout: requestTimeoutMs
  }
}

export interface HttpConnectionsOptions {
  /** Connections that may be open at once. */
  max: number
  counts: PortCounts
  /** Called when a connection is closed or refused because there are `max`; at most once a minute. */
  onFull: () => void
  /** Default `backgroundTimers` */
  timers?: Timers
}

/**
 * What a connection waits for, in the order in which connections are closed in favour of new ones: the first byte of a
 * request, the rest of its headers, the rest of its body, the end of its answers.
 */
type State = 'idle' | 'headers' | 'body' | 'answer'

interface Connection {
  readonly socket: Socket
  readonly peer: Peer
  state: State
  /** When the state began. */
  sinceMs: number
  /** The bytes that were read when it became idle: more of them are a part of a request. */
  idleBytes: number
  /** The request that came last, until it is answered. */
  request: IncomingMessage | undefined
  /** Answers that have not ended; several with pipelining. */
  readonly responses: Set<ServerResponse>
  /** When a sweep found the connection ended by the service. */
  endedMs: number | undefined
  /** Since when each sweep found an answer that the client has not read. */
  unreadMs: number | undefined
  /** When a sweep of the closing port found that all answers were given to the connection. */
  sentMs: number | undefined
}

/** A network, and how many connections it has. */
interface Peer {
  readonly network: string
  open: number
}

/**
 * Limits the connections of a port. At the maximum one connection is closed in favour of a new one: of the network that
 * has the most, the oldest idle one, else the oldest that has sent a part of its headers, else of its body, else one
 * whose client does not read its answer. The connection of a request that is being answered is never closed. Where
 * there are only such ones, the new connection is closed.
 */
export class HttpConnections {
  readonly #options: HttpConnectionsOptions
  readonly #timers: Timers
  readonly #servers = new Set<Server>()
  readonly #open = new Map<Socket, Connection>()
  readonly #peers = new Map<string, Peer>()
  /** In each state the oldest first. */
  readonly #byState: Readonly<Record<State, Set<Connection>>> = {
    idle: new Set(),
    headers: new Set(),
    body: new Set(),
    answer: new Set()
  }
  #closingMs: number | undefined
  #reportedMs = Number.NEGATIVE_INFINITY
  #cancelSweep: () => void = () => undefined

  constructor(options: HttpConnectionsOptions) {
    this.#options = options
    this.#timers = options.timers ?? backgroundTimers
    options.counts.setOpen(0)
  }

  /** Counts and limits the connections of a server that has none yet. Several servers can share one maximum. */
  attach(server: Server): void {
    if (this.#servers.has(server)) return
    this.#servers.add(server)
    server.on('connection', socket => this.#accept(socket))
    server.prependListener('request', (request, response) => this.#begin(request, response))
    if (this.#servers.size === 1) this.#sweepLater()
  }

  /** Never closes the connection of this request in favour of a new one, although its body is not complete. */
  protect({ socket }: IncomingMessage): void {
    const connection = this.#open.get(socket)
    if (connection?.state === 'body') this.#move(connection, 'answer')
  }

  /**
   * Ends all connections while the servers stop listening: idle ones at once, requests that are not complete within half
   * a second, answers half a second after they were given to the connection. A request that is being answered is waited
   * for. Idempotent.
   */
  close(): void {
    if (this.#closingMs !== undefined) return
    this.#closingMs = this.#timers.now()
    this.#cancelSweep()
    this.#sweep()
  }

  /** Ends all connections at once. Idempotent. */
  destroy(): void {
    this.#cancelSweep()
    for (const connection of [...this.#open.values()]) this.#close(connection)
  }

  #accept(socket: Socket): void {
    if (this.#open.size >= this.#options.max && !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const peer = this.#peerOf(networkOf(parseAddress(socket.remoteAddress) ?? ''))
    const connection: Connection = {
      socket,
      peer,
      state: 'idle',
      sinceMs: this.#timers.now(),
      idleBytes: 0,
      request: undefined,
      responses: new Set(),
      endedMs: undefined,
      unreadMs: undefined,
      sentMs: undefined
    }
    peer.open++
    this.#byState.idle.add(connection)
    this.#open.set(socket, connection)
    this.#options.counts.setOpen(this.#open.size)
    socket.once('close', () => this.#remove(connection))
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#open.get(request.socket)
    if (!connection) return
    connection.responses.add(response)
    connection.request = request
    connection.sentMs = undefined
    this.#move(connection, hasBody(request) ? 'body' : 'answer')
    response.once('close', () => {
      connection.responses.delete(response)
      if (connection.responses.size > 0 || !this.#open.has(connection.socket)) return
      connection.request = undefined
      connection.idleBytes = connection.socket.bytesRead
      this.#move(connection, 'idle')
    })
  }

  /** Returns whether there is room for a new connection. */
  #makeRoom(): boolean {
    const { counts, onFull } = this.#options
    const victim = this.#victim()
    // Counted first: who sees the end of the connection can read the count, on the other thread too.
    counts.countClosed(victim ? 'evicted' : 'refused')
    if (victim) this.#close(victim)
    const now = this.#timers.now()
    if (now - this.#reportedMs >= REPORT_MS) {
      this.#reportedMs = now
      onFull()
    }
    return victim !== undefined
  }

  /** The connection to close, if there is one. */
  #victim(): Connection | undefined {
    for (;;) {
      const candidate = this.#candidate()
      // The parser reads the bytes of a request without an event: the state is corrected here.
      if (candidate?.state === 'idle' && hasSent(candidate)) {
        this.#move(candidate, 'headers', candidate.idleBytes === 0 ? candidate.sinceMs : this.#timers.now())
      } else if (candidate?.state === 'body' && candidate.request?.complete) this.#move(candidate, 'answer')
      else return candidate
    }
  }

  /**
   * The first of these: of the network with the most connections, a state that is not fresh, the order of the states, the
   * oldest.
   */
  #candidate(): Connection | undefined {
    const now = this.#timers.now()
    let most = 0
    for (const { open } of this.#peers.values()) most = Math.max(most, open)
    let best: Connection | undefined
    let isBestAged = false
    for (const connections of Object.values(this.#byState)) {
      for (const connection of connections) {
        const { open } = connection.peer
        if (best && open < best.peer.open) continue
        if (connection.state === 'answer' && now - (connection.unreadMs ?? now) < UNREAD_EVICTABLE_MS) continue
        const isAged = now - connection.sinceMs >= FRESH_MS
        if (isAged && open === most) return connection
        const isBetter =
          !best || open > best.peer.open || (!isBestAged && (isAged || connection.sinceMs < best.sinceMs))
        if (isBetter) [best, isBestAged] = [connection, isAged]
        // The others of this state are younger.
        if (open === most) break
      }
    }
    return best
  }

  #sweepLater(): void {
    const isClosing = this.#closingMs !== undefined
    this.#cancelSweep = this.#timers.after(isClosing ? CLOSE_CHECK_MS : CHECK_MS, () => this.#sweep())
  }

  #sweep(): void {
    const now = this.#timers.now()
    for (const connection of [...this.#open.values()]) {
      if (this.#isUnread(connection, now)) {
        this.#options.counts.countClosed('unread')
        this.#close(connection)
      } else if (this.#hasEnded(connection, now) || this.#mustClose(connection, now)) this.#close(connection)
    }
    const isOver = this.#closingMs !== undefined && this.#open.size === 0 && !this.#isListening()
    if (!isOver) this.#sweepLater()
  }

  #isListening(): boolean {
    return [...this.#servers].some(({ listening }) => listening)
  }

  /** Whether the client has not read the answer within the deadline. */
  #isUnread(connection: Connection, now: number): boolean {
    const { socket, responses } = connection
    const isPending = responses.size > 0 && socket.writableLength > 0
    connection.unreadMs = isPending ? (connection.unreadMs ?? now) : undefined
    return now - (connection.unreadMs ?? now) >= UNREAD_TIMEOUT_MS
  }

  /** Whether the service has ended the connection, such as after an invalid request, and the client keeps it open. */
  #hasEnded(connection: Connection, now: number): boolean {
    if (!connection.socket.writableEnded || connection.responses.size > 0) return false
    connection.endedMs ??= now
    return now - connection.endedMs >= ENDED_MS
  }

  /** Whether the port closes and the connection has no request that must be answered. */
  #mustClose(connection: Connection, now: number): boolean {
    if (this.#closingMs === undefined) return false
    const { request, responses } = connection
    if (responses.size === 0 && !hasSent(connection)) return true
    if (responses.size === 0 || request?.complete === false) return now - this.#closingMs >= CLOSE_GRACE_MS
    if (![...responses].every(({ headersSent }) => headersSent)) return false
    connection.sentMs ??= now
    return now - connection.sentMs >= CLOSE_GRACE_MS
  }

  #move(connection: Connection, state: State, sinceMs = this.#timers.now()): void {
    this.#byState[connection.state].delete(connection)
    connection.state = state
    connection.sinceMs = sinceMs
    this.#byState[state].add(connection)
  }

  #close(connection: Connection): void {
    this.#remove(connection)
    // The descriptor is free when this returns.
    connection.socket.destroy()
  }

  #remove(connection: Connection): void {
    const { socket, peer, state } = connection
    if (!this.#open.delete(socket)) return
    this.#byState[state].delete(connection)
    peer.open--
    if (peer.open === 0) this.#peers.delete(peer.network)
    this.#options.counts.setOpen(this.#open.size)
  }

  #peerOf(network: string): Peer {
    const known = this.#peers.get(network)
    if (known) return known
    const peer = { network, open: 0 }
    this.#peers.set(network, peer)
    return peer
  }
}

function hasSent({ socket, idleBytes }: Connection): boolean {
  return socket.bytesRead > idleBytes
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
