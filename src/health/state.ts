import type { DatabaseFailure } from '../database/failure.ts'

/** Milliseconds on the one clock that all threads of the process share; it never goes back. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

/** What the last check of the database found. */
export type DatabaseState = 'unknown' | 'ok' | DatabaseFailure

/** All that a probe's answer depends on, at one moment. */
export interface Snapshot {
  database: DatabaseState
  /** Age of the database state, in milliseconds. */
  databaseAgeMs: number
  /** The schema is known to be up to date. Once true it stays so. */
  migrated: boolean
  /** Migrations and warm-up are done. Once true it stays so. */
  started: boolean
  draining: boolean
  /** The main loop is under pressure by its own measure. */
  pressure: boolean
  /** Age of the main loop's last sign of life, in milliseconds. */
  heartbeatAgeMs: number
}

const databaseStates: readonly DatabaseState[] = [
  'unknown',
  'ok',
  'database_unreachable',
  'database_timeout',
  'database_refused'
]

const WORDS = 5
const DATABASE = 0
const REPLICA = 1
const HEARTBEAT = 2
const LATENCY = 3
const SINCE = 4

const MUTE = databaseStates.indexOf('database_timeout')

/** The latency is kept in microseconds: a database nearby answers in less than a millisecond. */
const US_PER_MS = 1_000

const STATE_BITS = 8n
const STATE_MASK = 0xffn

const MIGRATED = 1n << 0n
const STARTED = 1n << 1n
const DRAINING = 1n << 2n
const PRESSURE = 1n << 3n

/**
 * The state of the replica in shared memory, so that the main thread and the probe thread answer from the same facts.
 * Each word has one writer and is read whole: the state and the time of the database check are one word, the main
 * thread's own facts are another, so no reader sees half of a change.
 *
 * Writers: the probe thread writes the database word, the main thread the other two.
 */
export class SharedState {
  readonly buffer: SharedArrayBuffer
  readonly #words: BigInt64Array
  /** What the main thread wrote last; only the writer's copy counts. */
  #replica = 0n
  #database: DatabaseState | undefined

  /** @param buffer that of another thread's state; a fresh one is made without it */
  constructor(buffer = new SharedArrayBuffer(WORDS * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer
    this.#words = new BigInt64Array(buffer)
  }

  /** Records what a database check found, now, and how long it took. Latency and duration are for the curious. */
  setDatabase(state: DatabaseState, nowMs = monotonicMs(), latencyMs = 0): void {
    if (state !== this.#database) Atomics.store(this.#words, SINCE, BigInt(nowMs))
    this.#database = state
    Atomics.store(this.#words, LATENCY, BigInt(Math.round(latencyMs * US_PER_MS)))
    Atomics.store(this.#words, DATABASE, (BigInt(nowMs) << STATE_BITS) | BigInt(databaseStates.indexOf(state)))
  }

  setMigrated(): void {
    this.#write(this.#replica | MIGRATED)
  }

  setStarted(): void {
    this.#write(this.#replica | STARTED)
  }

  setDraining(): void {
    this.#write(this.#replica | DRAINING)
  }

  setPressure(pressure: boolean): void {
    this.#write(pressure ? this.#replica | PRESSURE : this.#replica & ~PRESSURE)
  }

  /** A sign of life of the main loop. */
  beat(nowMs = monotonicMs()): void {
    Atomics.store(this.#words, HEARTBEAT, BigInt(nowMs))
  }

  snapshot(nowMs = monotonicMs()): Snapshot {
    const database = Atomics.load(this.#words, DATABASE)
    const replica = Atomics.load(this.#words, REPLICA)
    return {
      database: databaseStates[Number(database & STATE_MASK)] ?? 'unknown',
      databaseAgeMs: Math.max(0, nowMs - Number(database >> STATE_BITS)),
      migrated: (replica & MIGRATED) !== 0n,
      started: (replica & STARTED) !== 0n,
      draining: (replica & DRAINING) !== 0n,
      pressure: (replica & PRESSURE) !== 0n,
      heartbeatAgeMs: Math.max(0, nowMs - Number(Atomics.load(this.#words, HEARTBEAT)))
    }
  }

  /**
   * Whether the database verdict can be used as it stands: it is not older than `limitMs`, or the database is known to
   * be mute, so that whoever waits for better waits in vain.
   */
  isDatabaseFresh(limitMs: number, nowMs = monotonicMs()): boolean {
    const database = Atomics.load(this.#words, DATABASE)
    return nowMs - Number(database >> STATE_BITS) <= limitMs || Number(database & STATE_MASK) === MUTE
  }

  /** How long the last check took and for how long its result has been the same, in milliseconds. */
  databaseTiming(nowMs = monotonicMs()): { latencyMs: number; sinceMs: number } {
    return {
      latencyMs: Number(Atomics.load(this.#words, LATENCY)) / US_PER_MS,
      sinceMs: Math.max(0, nowMs - Number(Atomics.load(this.#words, SINCE)))
    }
  }

  #write(word: bigint): void {
    this.#replica = word
    Atomics.store(this.#words, REPLICA, word)
  }
}
