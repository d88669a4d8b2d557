/** The ports of the service. */
export const PORTS = ['main', 'probe', 'metrics'] as const
export type Port = (typeof PORTS)[number]

/**
 * Why the service closed a connection: `evicted` in favour of a new one, `refused` because none could be closed in its
 * favour, `unread` because the client did not read the answer in time.
 */
export const CLOSE_REASONS = ['evicted', 'refused', 'unread'] as const
export type CloseReason = (typeof CLOSE_REASONS)[number]

const SLOTS = 1 + CLOSE_REASONS.length

/** The counts of one port. It has one writer, the thread of the port. */
export interface PortCounts {
  setOpen(open: number): void
  countClosed(reason: CloseReason): void
}

/**
 * Open and closed connections of each port, in memory that both threads share. The part of each port has one writer, so
 * no operation has to be atomic: a reader may get values that are a moment old.
 */
export class ConnectionCounts {
  readonly buffer: SharedArrayBuffer
  readonly #slots: Float64Array

  /** @param buffer the one of the other thread; without it, a new one is allocated */
  constructor(buffer = new SharedArrayBuffer(PORTS.length * SLOTS * Float64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer
    this.#slots = new Float64Array(buffer)
  }

  /** Returns what writes the counts of a port. */
  writer(port: Port): PortCounts {
    const offset = PORTS.indexOf(port) * SLOTS
    const slots = this.#slots
    return {
      setOpen(open) {
        slots[offset] = open
      },
      countClosed(reason) {
        const slot = offset + 1 + CLOSE_REASONS.indexOf(reason)
        slots[slot] = (slots[slot] ?? 0) + 1
      }
    }
  }

  /** The open connections of a port, and how many it closed for each reason. */
  read(port: Port): { open: number; closed: Record<CloseReason, number> } {
    const [open = 0, evicted = 0, refused = 0, unread = 0] = this.#slots.subarray(PORTS.indexOf(port) * SLOTS)
    return { open, closed: { evicted, refused, unread } }
  }
}
