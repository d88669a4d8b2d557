import { DATABASE_FAILURES, type DatabaseFailure } from '../database/failure.ts'

/** Milliseconds of the clock that all threads of the process share. It never goes back. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

/** The result of the last database check; `unknown` before the first. */
export type DatabaseState = 'unknown' | 'ok' | DatabaseFailure

/** Everything that a probe's answer depends on, at one moment. */
export interface Snapshot {
  database: DatabaseState
  /** Age of the database state, in milliseconds. */
  databaseAgeMs: number
  /** The schema is up to date. Once true, it stays true. */
  migrated: boolean
  /** All start-up steps are done. Once true, it stays true. */
  started: boolean
  draining: boolean
  /** The main thread sheds load, because its event loop is late. */
  pressure: boolean
  /** Statements of this replica fail again and again, though the database answers its check. */
  failing: boolean
  /** The start-up found that the schema is not one that this version can work on. */
  incompatible: boolean
  /** Age of the main loop's last heartbeat, in milliseconds. */
  heartbeatAgeMs: number
}

const databaseStates: readonly DatabaseState[] = ['unknown', 'ok', ...DATABASE_FAILURES]

const WORDS = 6
const DATABASE = 0
const REPLICA = 1
const HEARTBEAT = 2
const LATENCY = 3
const SINCE = 4
const FAILING_SINCE = 5

const UNRESPONSIVE = databaseStates.indexOf('database_timeout')

/** The latency is stored in microseconds: a near database answers in less than a millisecond. */
const US_PER_MS = 1_000

const STATE_BITS = 8n
const STATE_MASK = 0xffn

const MIGRATED = 1n << 0n
const STARTED = 1n << 1n
const DRAINING = 1n << 2n
const PRESSURE = 1n << 3n
const FAILING = 1n << 4n
const INCOMPATIBLE = 1n << 5n

/**
 * The state of the replica in shared memory, so that the main thread and the probe thread answer from the same state.
 * Each word has one writer and is read atomically: the state and the time of the database check are one word, the flags
 * of the main thread are another.
 *
 * Writers: the probe thread writes the words of the database check, the main thread the flags and the heartbeat.
 */
export class SharedState {
  readonly buffer: SharedArrayBuffer
  readonly #words: BigInt64Array
  /** The flags as the main thread wrote them last; not used in the probe thread. */
  #replica = 0n
  #database: DatabaseState | undefined

  /** @param buffer the one of the other thread; without it, a new one is allocated */
  constructor(buffer = new SharedArrayBuffer(WORDS * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer
    this.#words = new BigInt64Array(buffer)
  }

  /** Writes the result of a database check, its time and its latency. */
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

  /** Writes whether the statements of this replica fail again and again. */
  setFailing(failing: boolean, nowMs = monotonicMs()): void {
    Atomics.store(this.#words, FAILING_SINCE, BigInt(nowMs))
    this.#write(failing ? this.#replica | FAILING : this.#replica & ~FAILING)
  }

  /** Writes whether this version can work on the schema: without it the replica is not ready and runs no job. */
  setIncompatible(incompatible: boolean): void {
    this.#write(incompatible ? this.#replica | INCOMPATIBLE : this.#replica & ~INCOMPATIBLE)
  }

  /** Writes the heartbeat of the main loop. */
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
      failing: (replica & FAILING) !== 0n,
      incompatible: (replica & INCOMPATIBLE) !== 0n,
      heartbeatAgeMs: Math.max(0, nowMs - Number(Atomics.load(this.#words, HEARTBEAT)))
    }
  }

  /**
   * Whether the database verdict can be used without a new check: it is at most `limitMs` old, or the database is known
   * to be unresponsive, so that a new check would only wait for its deadline.
   */
  isDatabaseFresh(limitMs: number, nowMs = monotonicMs()): boolean {
    const database = Atomics.load(this.#words, DATABASE)
    return nowMs - Number(database >> STATE_BITS) <= limitMs || Number(database & STATE_MASK) === UNRESPONSIVE
  }

  /**
   * The latency of the last check, for how long its result has been the same, and since when the statements of this
   * replica fail or do not fail. In milliseconds.
   */
  databaseTiming(nowMs = monotonicMs()): { latencyMs: number; sinceMs: number; failingSinceMs: number } {
    return {
      latencyMs: Number(Atomics.load(this.#words, LATENCY)) / US_PER_MS,
      sinceMs: Math.max(0, nowMs - Number(Atomics.load(this.#words, SINCE))),
      failingSinceMs: Math.max(0, nowMs - Number(Atomics.load(this.#words, FAILING_SINCE)))
    }
  }

  #write(word: bigint): void {
    this.#replica = word
    Atomics.store(this.#words, REPLICA, word)
  }
}
