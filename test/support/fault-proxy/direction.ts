import type { Socket } from 'node:net'
import type { Conditions, Cut } from './commands.ts'

/** Reading from the source pauses above this size of the queue, in bytes. */
const QUEUE_LIMIT = 1_048_576
/** At a limited bandwidth, data are delivered in pieces of this duration, in milliseconds. */
const PIECE_MS = 20
/**
 * Pause between the last bytes and the RST, in milliseconds. An RST discards what is still in the sender's kernel
 * buffer.
 */
const SETTLE_MS = 5

interface Item {
  /** Bytes, or the end of the stream. */
  content: Buffer | 'end' | 'reset'
  arrivedMs: number
  dueMs: number
}

export interface DirectionOptions {
  source: Socket
  sink: Socket
  conditions: () => Conditions
  /** Data that arrive earlier are treated as if they arrived at this time: the connection is not yet set up. */
  notBeforeMs: () => number
  /** The source reset its side, and the network has delivered that. */
  onReset: () => void
  /** The armed cut is due. */
  onCut: (how: 'reset' | 'end') => void
}

/** One direction of a relayed connection: a queue between two sockets whose order never changes. */
export class Direction {
  /** Bytes written to the sink. */
  delivered = 0
  readonly #options: DirectionOptions
  readonly #queue: Item[] = []
  #queuedBytes = 0
  #lastDueMs = 0
  /** The time at which the link has transmitted all queued data. */
  #linkFreeMs = 0
  #timer: NodeJS.Timeout | undefined
  #sinkReady = false
  #held = false
  #silent = false
  #cut: { at: number; how: 'reset' | 'end' } | undefined

  constructor(options: DirectionOptions) {
    this.#options = options
    options.source
      .on('data', chunk => this.#receive(chunk))
      .on('end', () => this.#enqueue('end'))
      .on('error', () => this.#enqueue('reset'))
  }

  /** The sink is connected. */
  open(): void {
    this.#sinkReady = true
    this.#deliver()
  }

  /** While held, nothing is delivered; the queue is kept. */
  hold(on: boolean): void {
    this.#held = on
    this.#deliver()
  }

  /** Nothing more is delivered, permanently. Data from the source are read and discarded. */
  silence(): void {
    this.#silent = true
    this.#queue.length = 0
    this.#queuedBytes = 0
    clearTimeout(this.#timer)
    this.#options.source.resume()
  }

  /** Applies changed conditions to what is queued. */
  reschedule(): void {
    this.#lastDueMs = 0
    this.#linkFreeMs = 0
    for (const item of this.#queue) this.#schedule(item)
    this.#deliver()
  }

  /** Replaces the armed cut. */
  arm({ bytes, how = 'reset' }: Pick<Cut, 'bytes' | 'how'>): void {
    if (bytes === 0) this.#endBy(how)
    else this.#cut = { at: this.delivered + bytes, how }
  }

  disarm(): void {
    this.#cut = undefined
  }

  /** Whether data or an end are undelivered. */
  get pending(): boolean {
    return this.#queue.length > 0
  }

  #receive(chunk: Buffer): void {
    const { bytesPerSecond } = this.#options.conditions()
    const piece = bytesPerSecond ? Math.max(1, Math.round((bytesPerSecond * PIECE_MS) / 1_000)) : chunk.length
    for (let start = 0; start < chunk.length; start += piece) this.#enqueue(chunk.subarray(start, start + piece))
  }

  #enqueue(content: Item['content']): void {
    if (this.#silent) return
    const item: Item = { content, arrivedMs: performance.now(), dueMs: 0 }
    this.#schedule(item)
    this.#queue.push(item)
    this.#queuedBytes += sizeOf(item)
    if (this.#queuedBytes > QUEUE_LIMIT) this.#options.source.pause()
    this.#deliver()
  }

  #schedule(item: Item): void {
    const { delayMs = 0, jitterMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY } = this.#options.conditions()
    const sentMs = Math.max(item.arrivedMs, this.#options.notBeforeMs(), this.#linkFreeMs)
    this.#linkFreeMs = sentMs + (sizeOf(item) / bytesPerSecond) * 1_000
    item.dueMs = Math.max(this.#lastDueMs, this.#linkFreeMs + delayMs + Math.random() * jitterMs)
    this.#lastDueMs = item.dueMs
  }

  #deliver(): void {
    clearTimeout(this.#timer)
    while (this.#sinkReady && !this.#held) {
      const [item] = this.#queue
      if (item === undefined) return
      const remainingMs = item.dueMs - performance.now()
      if (remainingMs > 0) {
        this.#timer = setTimeout(() => this.#deliver(), Math.ceil(remainingMs))
        return
      }
      this.#queue.shift()
      this.#queuedBytes -= sizeOf(item)
      if (this.#queuedBytes <= QUEUE_LIMIT / 2) this.#options.source.resume()
      this.#pass(item.content)
    }
  }

  #pass(content: Item['content']): void {
    const { sink, onReset } = this.#options
    if (content === 'reset') {
      onReset()
      return
    }
    if (content === 'end') {
      sink.end()
      return
    }
    const cut = this.#cut
    if (cut !== undefined && this.delivered + content.length >= cut.at) {
      const last = content.subarray(0, cut.at - this.delivered)
      this.delivered = cut.at
      this.silence()
      sink.write(last, () => setTimeout(() => this.#endBy(cut.how), SETTLE_MS))
      return
    }
    this.delivered += content.length
    if (sink.write(content)) return
    this.#sinkReady = false
    sink.once('drain', () => this.open())
  }

  #endBy(how: 'reset' | 'end'): void {
    this.silence()
    this.#options.onCut(how)
  }
}

function sizeOf({ content }: Item): number {
  return typeof content === 'string' ? 0 : content.length
}
