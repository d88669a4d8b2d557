/** The commands that a test sends to the process of its fault proxy, one JSON text per line. */

/** Network conditions in each direction of each connection. A missing value means no restriction. */
export interface Conditions {
  /** One-way delay in milliseconds: a round trip takes twice as long. */
  delayMs?: number
  /** Each piece of data is delayed by up to this many milliseconds more, at random. The order is preserved. */
  jitterMs?: number
  /** Bandwidth of each direction of each connection. */
  bytesPerSecond?: number
}

/** Ends a connection after an exact number of bytes in one direction. */
export interface Cut {
  /** How many more bytes are delivered before the connection ends: 0 ends it at once. */
  bytes: number
  direction: 'to_client' | 'to_server'
  /**
   * `next`: the next connection that is accepted. `all`: every connection that is accepted from now on. `present`:
   * those that are open now. Default `next`.
   */
  connections?: 'next' | 'all' | 'present'
  /** RST or FIN, to both sides. Default `reset`. */
  how?: 'reset' | 'end'
}

export interface ConnectionStats {
  /** Bytes delivered to the client. */
  toClient: number
  /** Bytes delivered to the server. */
  toServer: number
  /** Neither the client nor the proxy has closed the client's side. */
  open: boolean
}

export interface Stats {
  /** Connections that are open. */
  open: number
  /** All connections in order of acceptance, closed ones included. */
  connections: ConnectionStats[]
}

export type Command =
  | { name: 'conditions'; conditions: Conditions }
  | { name: 'reset'; which: 'all' | 'newest' }
  | { name: 'half_open' }
  | { name: 'black_hole'; on: boolean; forget: boolean }
  | { name: 'refuse'; on: boolean }
  | { name: 'cut'; cut: Cut }
  | { name: 'disarm' }
  | { name: 'stats' }

/** Where the proxy connects to: a TCP address or a unix socket. */
export type Target = { host: string; port: number } | { path: string }
