import { createHmac } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Database } from '../database/database.ts'

/** Slots of the table. A keyed hash maps names and addresses to slots, so a client cannot choose the slot of another. */
const SLOTS = 1 << 20

/** Failures without a wait. Each further one doubles the wait, from one second up to the longest. */
const FREE_PER_PAIR = 5
const FREE_PER_ADDRESS = 20
const LONGEST_WAIT_SECONDS = 15 * 60
/** After this time without a failure, the count starts at zero again. */
const FORGET_AFTER = '1 hour'

/** An attempt to sign in or to change a password. */
export type Attempt = { kind: 'sign-in' | 'password'; name: string; address: string }

/** The two slots that count an attempt: one for the name with the address, one for the address. */
interface Slots {
  pair: number
  address: number
}

/** An admitted attempt, with the failure count of each slot after it. */
export interface Admitted {
  slots: Slots
  failureCounts: ReadonlyMap<number, number>
}

/**
 * Growing waits after failed attempts, per (name, address) and per address. They are in Postgres, so that they apply on
 * all replicas and after restarts. There is no wait per name alone: a client cannot lock out another user.
 */
export class SignInLimits {
  readonly #database: Database
  readonly #key: string

  /** @param key of the hash that maps attempts to slots; with a new key all counts start at zero */
  constructor(database: Database, key: string) {
    this.#database = database
    this.#key = key
  }

  /** The slots of an attempt; an IPv6 address is counted by its /64 network. */
  slots({ kind, name, address }: Attempt): Slots {
    const from = network(address)
    return {
      pair: this.#slot(`${kind} pair ${from} ${name.toLowerCase()}`),
      address: this.#slot(`${kind} address ${from}`)
    }
  }

  /**
   * Admits an attempt and counts it as failed in one step: of concurrent attempts, on all replicas, no more are admitted
   * than of sequential ones. Call `succeeded` or `undecided` afterwards, unless the attempt failed.
   * @returns the seconds to wait when the attempt is not admitted
   * @throws {DatabaseUnavailableError}
   */
  async admit(slots: Slots): Promise<Admitted | { waitSeconds: number }> {
    const { pair, address } = slots
    const [first, second] = pair < address ? [pair, address] : [address, pair]
    await this.#database.run(
      sql => sql`insert into sign_in_limits (slot) values (${first}), (${second}) on conflict do nothing`
    )
    // One statement: all attempts from an address share a row, and so its lock is not held for a network round trip. The
    // values of locked rows are current, also after a wait for the lock.
    const decided = await this.#database.run(
      sql => sql<{ wait_seconds: number; slot: number | null; failures: number | null }[]>`
        with held as (
          select slot, failures, updated_at, locked_until from sign_in_limits
          where slot in (${pair}, ${address}) order by slot for update
        ), locked as (
          select coalesce(max(ceil(extract(epoch from locked_until - clock_timestamp()))), 0)::int as wait_seconds
          from held
          -- A later one was written before the clock was set back.
          where locked_until > clock_timestamp()
            and locked_until <= clock_timestamp() + make_interval(secs => ${LONGEST_WAIT_SECONDS}::int)
        ), counted as (
          update sign_in_limits l set failures = next.failures, updated_at = now(),
            locked_until = case
              when next.failures < next.free then '-infinity'
              else clock_timestamp() + make_interval(secs => least(${LONGEST_WAIT_SECONDS}, 2 ^ least(next.failures - next.free, 20)))
            end
          from (
            select slot, case when updated_at < now() - ${FORGET_AFTER}::interval then 1 else failures + 1 end as failures,
              case slot when ${pair}::int then ${FREE_PER_PAIR}::int else ${FREE_PER_ADDRESS}::int end as free
            from held
          ) next
          where l.slot = next.slot and (select wait_seconds from locked) <= 0 returning l.slot, l.failures
        )
        select wait_seconds, slot, failures from locked left join counted on true`
    )
    const waitSeconds = decided[0]?.wait_seconds ?? 0
    if (waitSeconds > 0) return { waitSeconds }
    const failureCounts = decided.flatMap(({ slot, failures }): [number, number][] =>
      slot === null || failures === null ? [] : [[slot, failures]]
    )
    return { slots, failureCounts: new Map(failureCounts) }
  }

  /** The password was right: removes the failures of the name with the address, and this one of the address. */
  async succeeded(admitted: Admitted): Promise<void> {
    const { pair, address } = admitted.slots
    await this.#database.run(sql => sql`delete from sign_in_limits where slot = ${pair}`)
    await this.#removeFailure(admitted, address, FREE_PER_ADDRESS)
  }

  /** The password was not checked: removes the failure that `admit` counted. */
  async undecided(admitted: Admitted): Promise<void> {
    const { pair, address } = admitted.slots
    await this.#removeFailure(admitted, pair, FREE_PER_PAIR)
    await this.#removeFailure(admitted, address, FREE_PER_ADDRESS)
  }

  /** Removes a wait that the attempt caused; a wait that another attempt caused meanwhile remains. */
  async #removeFailure({ failureCounts }: Admitted, slot: number, free: number): Promise<void> {
    await this.#database.run(
      sql => sql`
        update sign_in_limits set failures = greatest(failures - 1, 0), locked_until = case
          when failures <= ${free} or failures = ${failureCounts.get(slot) ?? -1} then '-infinity' else locked_until
        end
        where slot = ${slot}`
    )
  }

  #slot(text: string): number {
    return createHmac('sha256', this.#key).update(text).digest().readUInt32BE(0) % SLOTS
  }
}

/** The /64 network of an IPv6 address, which one client may use completely; other addresses unchanged. */
function network(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address
  const [head = '', tail = ''] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail.split(':').filter(Boolean)
  const groups = [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return groups.slice(0, 4).join(':')
}
