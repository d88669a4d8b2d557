import { once } from 'node:events'
import { createServer } from 'node:net'
import { listenOnStablePort } from '../stable-port.ts'
import type { Command, Conditions, Cut, Stats, Target } from './commands.ts'
import { Connection } from './connection.ts'

/** A TCP relay on 127.0.0.1 that executes the commands of a test. */
export class Relay {
  readonly #server = createServer({ allowHalfOpen: true })
  readonly #connections: Connection[] = []
  #port = 0
  #conditions: Conditions = {}
  #blackHole = false
  #armed: Cut | undefined

  constructor(target: Target) {
    this.#server.on('connection', client => {
      const conditions = () => this.#conditions
      const connection = new Connection(client, { target, conditions, held: this.#blackHole })
      this.#connections.push(connection)
      if (this.#armed === undefined) return
      connection.arm(this.#armed)
      if (this.#armed.connections !== 'all') this.#armed = undefined
    })
  }

  /** @returns the port */
  async listen(): Promise<number> {
    this.#port = await listenOnStablePort(this.#server)
    return this.#port
  }

  /** @returns the result of the command, as a JSON value */
  async carryOut(command: Command): Promise<number | Stats | null> {
    switch (command.name) {
      case 'conditions':
        this.#conditions = command.conditions
        for (const connection of this.#connections) connection.reschedule()
        return null
      case 'reset': {
        const open = this.#open()
        return (command.which === 'all' ? open : open.slice(-1)).filter(connection => connection.reset()).length
      }
      case 'half_open':
        return this.#open().filter(connection => connection.halfOpen()).length
      case 'black_hole':
        this.#blackHole = command.on
        for (const connection of this.#connections) {
          if (command.forget) connection.forget()
          connection.hold(command.on)
        }
        return null
      case 'refuse':
        await this.#refuse(command.on)
        return null
      case 'cut':
        if (command.cut.connections !== 'present') this.#armed = command.cut
        else for (const connection of this.#open()) connection.arm(command.cut)
        return null
      case 'disarm':
        this.#armed = undefined
        for (const connection of this.#connections) connection.disarm()
        return null
      case 'stats':
        return { open: this.#open().length, connections: this.#connections.map(connection => connection.stats()) }
    }
  }

  #open(): Connection[] {
    return this.#connections.filter(({ open }) => open)
  }

  async #refuse(on: boolean): Promise<void> {
    if (on !== this.#server.listening) return
    if (on) {
      // The callback waits for the connections; the listening socket is closed at once.
      this.#server.close()
    } else {
      this.#server.listen(this.#port, '127.0.0.1')
      await once(this.#server, 'listening')
    }
  }
}
