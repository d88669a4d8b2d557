import { createHmac } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Database } from '../database/database.ts'

/** Slots of the table: names and addresses are spread over them by a keyed hash, so nobody can aim at another's slot. */
const SLOTS = 1 << 20

/** Failures that cost nothing yet; each further one doubles the wait, from one second up to the longest. */
const FREE_PER_PAIR = 5
const FREE_PER_ADDRESS = 20
const LONGEST_WAIT_SECONDS = 15 * 60
/** Failures are forgotten when none came for this long. */
const FORGET_AFTER = '1 hour'

/** What is tried: signing in, or changing a password. */
export type Attempt = { kind: 'sign-in' | 'password'; name: string; address: string }

/** The two slots that count an attempt: one for who from where, one for where. */
export interface Slots {
  pair: number
  address: number
}

/** An attempt that may be made, with the count of failures that it brought each slot to. */
export interface Admitted {
  slots: Slots
  counted: ReadonlyMap<number, number>
}

/**
 * Growing delays for failed attempts, per (name, address) and per address, in Postgres, so that they hold across
 * replicas and restarts. A name alone is never delayed: nobody can lock somebody else out.
 */
export class SignInLimits {
  readonly #database: Database
  readonly #key: string

  /** @param key of the hash that spreads attempts over the slots; a new one forgets all failures */
  constructor(database: Database, key: string) {
    this.#database = database
    this.#key = key
  }

  slots({ kind, name, address }: Attempt): Slots {
    const from = network(address)
    return {
      pair: this.#slot(`${kind} pair ${from} ${name.toLowerCase()}`),
      address: this.#slot(`${kind} address ${from}`)
    }
  }

  /**
   * Admits an attempt and counts it as failed from this moment on, in one step: of many that come at once, on whatever
   * replicas, no more are looked at than of as many one after the other. Say afterwards how it ended.
   * @returns seconds to wait when it may not be made
   */
  async admit(slots: Slots): Promise<Admitted | { waitSeconds: number }> {
    const { pair, address } = slots
    const [first, second] = pair < address ? [pair, address] : [address, pair]
    await this.#database.run(
      sql => sql`insert into sign_in_limits (slot) values (${first}), (${second}) on conflict do nothing`
    )
    // One statement: all attempts from an address share a row, and its lock is then held for no network round trip. What
    // it decides on is read from the locked rows, which are current even when it has waited for them.
    const decided = await this.#database.run(
      sql => sql<{ wait_seconds: number; slot: number | null; failures: number | null }[]>`
        with held as (
          select slot, failures, updated_at, locked_until from sign_in_limits
          where slot in (${pair}, ${address}) order by slot for update
        ), locked as (
          select coalesce(max(ceil(extract(epoch from locked_until - clock_timestamp()))), 0)::int as wait_seconds
          from held where locked_until > clock_timestamp()
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
    const counted = decided.flatMap(({ slot, failures }): [number, number][] =>
      slot === null || failures === null ? [] : [[slot, failures]]
    )
    return { slots, counted: new Map(counted) }
  }

  /** It was the right password: forgets the failures of who from where; those of the address stay, but this one. */
  async succeeded(admitted: Admitted): Promise<void> {
    const { pair, address } = admitted.slots
    await this.#database.run(sql => sql`delete from sign_in_limits where slot = ${pair}`)
    await this.#takeBack(admitted, address, FREE_PER_ADDRESS)
  }

  /** It was not looked at after all. */
  async undecided(admitted: Admitted): Promise<void> {
    const { pair, address } = admitted.slots
    await this.#takeBack(admitted, pair, FREE_PER_PAIR)
    await this.#takeBack(admitted, address, FREE_PER_ADDRESS)
  }

  /** A wait goes with the attempt that began it; one that another attempt began meanwhile stays. */
  async #takeBack({ counted }: Admitted, slot: number, free: number): Promise<void> {
    await this.#database.run(
      sql => sql`
        update sign_in_limits set failures = greatest(failures - 1, 0), locked_until = case
          when failures <= ${free} or failures = ${counted.get(slot) ?? -1} then '-infinity' else locked_until
        end
        where slot = ${slot}`
    )
  }

  #slot(text: string): number {
    return createHmac('sha256', this.#key).update(text).digest().readUInt32BE(0) % SLOTS
  }
}

/** An IPv6 client has a whole /64 to itself. */
function network(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address
  const [head = '', tail = ''] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail.split(':').filter(Boolean)
  const groups = [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return groups.slice(0, 4).join(':')
}
