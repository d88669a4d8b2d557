import { type Client, createClient } from './client.ts'

/** What the statement of the check returned, or why it failed. */
export type Answer<Row> = { session: CheckSession<Row> } & ({ row: Row; timeMs: number } | { err: unknown })

export interface CheckSessionOptions {
  url: string
  applicationName: string
  /** Deadline of connecting to one host, in milliseconds. */
  connectTimeoutMs: number
  /** Called when the server has accepted the session. */
  onOpen: () => void
}

/** One connection of the database check. It connects with its first statement, and has at most one under way. */
export class CheckSession<Row> {
  readonly #client: Client
  readonly #startedMs = performance.now()
  #openedMs: number | undefined
  #asked: { sentMs: number; answer: Promise<Answer<Row>> } | undefined

  constructor({ url, applicationName, connectTimeoutMs, onOpen }: CheckSessionOptions) {
    this.#client = createClient(url, {
      max: 1,
      applicationName,
      connectTimeoutMs,
      onSession: () => {
        this.#openedMs = performance.now()
        onOpen()
      }
    })
  }

  /** Milliseconds since it began to connect. */
  get ageMs(): number {
    return performance.now() - this.#startedMs
  }

  get isOpen(): boolean {
    return this.#openedMs !== undefined
  }

  /** The server or the network closed the connection while no statement was under way. */
  get isLost(): boolean {
    return this.isOpen && this.#asked === undefined && this.#client.connections() === 0
  }

  /** For how long it has waited: for the session, or then for the answer under way. In milliseconds; 0 when idle. */
  get waitedMs(): number {
    if (!this.isOpen) return this.ageMs
    return this.#asked ? performance.now() - this.#sinceMs(this.#asked.sentMs) : 0
  }

  /** Returns the answer that is under way, or sends the statement. The promise never rejects. */
  ask(statement: string): Promise<Answer<Row>> {
    this.#asked ??= { sentMs: performance.now(), answer: this.#send(statement) }
    return this.#asked.answer
  }

  /** Closes the connection at once. Idempotent. */
  close(): void {
    this.#client.destroy()
  }

  async #send(statement: string): Promise<Answer<Row>> {
    const sentMs = performance.now()
    try {
      const [row] = await this.#client.sql.unsafe<Row[]>(statement).simple()
      this.#asked = undefined
      return { session: this, row: row as Row, timeMs: performance.now() - this.#sinceMs(sentMs) }
    } catch (err) {
      return { session: this, err }
    }
  }

  /** The first statement is sent when the session is open. */
  #sinceMs(sentMs: number): number {
    return Math.max(sentMs, this.#openedMs ?? sentMs)
  }
}
