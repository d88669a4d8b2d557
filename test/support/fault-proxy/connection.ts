import { Socket } from 'node:net'
import type { Conditions, ConnectionStats, Cut, Target } from './commands.ts'
import { Direction } from './direction.ts'

export interface ConnectionOptions {
  target: Target
  conditions: () => Conditions
  /** Whether the network is a black hole now. */
  held: boolean
}

/** One relayed connection: a client that was accepted, and the connection to the server that is made for it. */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #client: Socket
  readonly #server = new Socket({ allowHalfOpen: true })
  readonly #toClient: Direction
  readonly #toServer: Direction
  #connectTimer: NodeJS.Timeout | undefined
  #connectBegun = false
  #held: boolean
  #open = true

  constructor(client: Socket, options: ConnectionOptions) {
    this.#options = options
    this.#client = client.setNoDelay(true)
    this.#held = options.held
    const acceptedMs = performance.now()
    const { conditions } = options
    const ends = { conditions, onReset: () => void this.reset(), onCut: (how: 'reset' | 'end') => this.#end(how) }
    // The kernel accepts at once. On a real network the client sends its first byte one round trip after its SYN.
    const notBeforeMs = () => acceptedMs + 2 * (conditions().delayMs ?? 0)
    this.#toServer = new Direction({ ...ends, source: client, sink: this.#server, notBeforeMs })
    this.#toClient = new Direction({ ...ends, source: this.#server, sink: client, notBeforeMs: () => 0 })
    this.#toClient.open()
    const closed = () => {
      this.#open = false
    }
    client.on('end', closed).on('close', closed)
    this.#server.on('connect', () => {
      this.#server.setNoDelay(true)
      this.#toServer.open()
    })
    this.hold(options.held)
    const { delayMs = 0 } = conditions()
    if (delayMs > 0) this.#connectTimer = setTimeout(() => this.#connect(), delayMs)
    else this.#connect()
  }

  get open(): boolean {
    return this.#open
  }

  stats(): ConnectionStats {
    return { toClient: this.#toClient.delivered, toServer: this.#toServer.delivered, open: this.#open }
  }

  arm(cut: Cut): void {
    const direction = cut.direction === 'to_client' ? this.#toClient : this.#toServer
    direction.arm(cut)
  }

  disarm(): void {
    this.#toClient.disarm()
    this.#toServer.disarm()
  }

  reschedule(): void {
    this.#toClient.reschedule()
    this.#toServer.reschedule()
  }

  /** In a black hole nothing is delivered; data that are sent meanwhile are delivered afterwards. */
  hold(on: boolean): void {
    this.#toClient.hold(on)
    this.#toServer.hold(on)
    if (on === this.#held) return
    this.#held = on
    if (!on) this.#connect()
  }

  /** The network has lost the data that were sent in a black hole: such a connection stays silent, without an error. */
  forget(): void {
    if (!this.#toClient.pending && !this.#toServer.pending) return
    this.#silence()
  }

  /** RST to both sides. @returns whether it was open */
  reset(): boolean {
    const wasOpen = this.#open
    this.#end('reset')
    return wasOpen
  }

  /** Closes the server's side. The client receives nothing. @returns whether it was open */
  halfOpen(): boolean {
    if (!this.#open) return false
    this.#silence()
    this.#server.destroy()
    return true
  }

  #silence(): void {
    this.#preventConnect()
    this.#toClient.silence()
    this.#toServer.silence()
    if (this.#client.readableEnded) this.#client.destroy()
    else this.#client.on('end', () => this.#client.destroy())
  }

  #end(how: 'reset' | 'end'): void {
    this.#preventConnect()
    this.#open = false
    this.#toClient.silence()
    this.#toServer.silence()
    if (how === 'end') {
      this.#client.end()
      this.#server.end()
      return
    }
    this.#client.resetAndDestroy()
    // A unix socket has no RST.
    if ('path' in this.#options.target) this.#server.destroy()
    else this.#server.resetAndDestroy()
  }

  #connect(): void {
    this.#connectTimer = undefined
    if (this.#held || this.#connectBegun) return
    this.#connectBegun = true
    const { target } = this.#options
    if ('path' in target) this.#server.connect(target.path)
    else this.#server.connect(target.port, target.host)
  }

  #preventConnect(): void {
    clearTimeout(this.#connectTimer)
    this.#connectBegun = true
  }
}
