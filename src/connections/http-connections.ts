// @FEAT:health-monitoring @COMP:service @TYPE:core
// The connections of a port: how many there may be, which one is closed in favour of a new one, and how they end.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { SECOND } from '../async/durations.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import { networkOf, parseAddress } from '../client-address.ts'
import { hasBody } from '../request-body.ts'
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
  /** The state when it was last determined: a request changes nothing here, because most are answered at once. */
  state: State
  /** When that state began. */
  sinceMs: number
  /** Whether a request came after the state was determined. */
  isUsed: boolean
  /** When the last request came; before the first, when the connection did. */
  beganMs: number
  /** The bytes that were read when the last request had come: more of them are a part of the next one. */
  idleBytes: number
  /** The request that came last. */
  request: IncomingMessage | undefined
  /** Whether that request counts as complete. */
  isProtected: boolean
  /** The answer to that request. */
  response: ServerResponse | undefined
  /** Earlier answers that had not ended when it came: pipelining. */
  earlier: ServerResponse[] | undefined
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
    if (connection) connection.isProtected = true
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
    const now = this.#timers.now()
    const connection: Connection = {
      socket,
      peer,
      state: 'idle',
      sinceMs: now,
      isUsed: false,
      beganMs: now,
      idleBytes: 0,
      request: undefined,
      isProtected: false,
      response: undefined,
      earlier: undefined,
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
    const { response: former } = connection
    if (former && !hasEnded(former)) connection.earlier = [...pendingAnswers(connection)]
    connection.isUsed = true
    connection.beganMs = this.#timers.now()
    connection.idleBytes = connection.socket.bytesRead
    connection.request = request
    connection.isProtected = false
    connection.response = response
    connection.sentMs = undefined
    if (!hasBody(request)) return
    response.once('close', () => {
      if (connection.response === response) connection.idleBytes = connection.socket.bytesRead
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
    let areBusyCurrent = false
    for (;;) {
      const candidate = this.#candidate()
      if (candidate && this.#update(candidate)) continue
      if (areBusyCurrent || (candidate?.state === 'idle' && this.#isAged(candidate))) return candidate
      // An answer that has ended makes its connection idle without an event.
      for (const state of ['body', 'answer'] as const)
        for (const connection of [...this.#byState[state]]) this.#update(connection)
      areBusyCurrent = true
    }
  }

  /** Determines the state of a connection. Returns whether its state or its time has changed. */
  #update(connection: Connection): boolean {
    const state = stateOf(connection)
    if (state === connection.state && !connection.isUsed) return false
    // The parser reads the first bytes of a request without an event.
    const began = state === 'headers' && connection.idleBytes > 0 ? this.#timers.now() : connection.beganMs
    this.#byState[connection.state].delete(connection)
    connection.state = state
    connection.sinceMs = state === 'idle' ? Math.max(connection.sinceMs, began) : began
    connection.isUsed = false
    this.#byState[state].add(connection)
    return true
  }

  #isAged({ sinceMs }: Connection): boolean {
    return this.#timers.now() - sinceMs >= FRESH_MS
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
    for (const connection of [...this.#open.values()].sort((one, other) => one.beganMs - other.beganMs)) {
      this.#update(connection)
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
    const isPending = connection.socket.writableLength > 0 && pendingAnswers(connection).length > 0
    connection.unreadMs = isPending ? (connection.unreadMs ?? now) : undefined
    return now - (connection.unreadMs ?? now) >= UNREAD_TIMEOUT_MS
  }

  /** Whether the service has ended the connection, such as after an invalid request, and the client keeps it open. */
  #hasEnded(connection: Connection, now: number): boolean {
    if (!connection.socket.writableEnded || pendingAnswers(connection).length > 0) return false
    connection.endedMs ??= now
    return now - connection.endedMs >= ENDED_MS
  }

  /** Whether the port closes and the connection has no request that must be answered. */
  #mustClose(connection: Connection, now: number): boolean {
    if (this.#closingMs === undefined) return false
    const answers = pendingAnswers(connection)
    if (answers.length === 0 && !hasSent(connection)) return true
    if (answers.length === 0 || connection.request?.complete === false) return now - this.#closingMs >= CLOSE_GRACE_MS
    if (!answers.every(({ headersSent }) => headersSent)) return false
    connection.sentMs ??= now
    return now - connection.sentMs >= CLOSE_GRACE_MS
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

function stateOf(connection: Connection): State {
  if (pendingAnswers(connection).length === 0) return hasSent(connection) ? 'headers' : 'idle'
  const { request, isProtected } = connection
  return isProtected || request?.complete !== false ? 'answer' : 'body'
}

/** The answers that have not ended, the earliest first. */
function pendingAnswers({ earlier = [], response }: Connection): ServerResponse[] {
  return (response ? [...earlier, response] : []).filter(answer => !hasEnded(answer))
}

/** Whether the answer was given to the connection as a whole. */
function hasEnded({ writableFinished, destroyed }: ServerResponse): boolean {
  return writableFinished || destroyed
}

function hasSent({ socket, idleBytes }: Connection): boolean {
  return socket.bytesRead > idleBytes
}
