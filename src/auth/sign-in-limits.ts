import { createHmac } from 'node:crypto'
import { atMost } from '../async/bounded.ts'
import { networkOf } from '../client-address.ts'
import type { Database } from '../database/database.ts'
import type { SignInNetworks } from './sign-in-networks.ts'

/** Slots of the table. A keyed hash maps names and addresses to slots, so a client cannot choose the slot of another. */
const SLOTS = 1 << 20

/** In place of a counter that does not count. */
const NO_SLOT = -1

/** What counts failures: the name with the address, the address, and the name from all unknown addresses. */
type Counter = 'pair' | 'address' | 'account'

/** Failures without a wait. Each further one doubles the wait, from one second up to the longest. */
const FREE: Readonly<Record<Counter, number>> = { pair: 5, address: 20, account: 20 }
const LONGEST_WAIT_SECONDS = 15 * 60
/** After this time without a failure, the count starts at zero again. */
const FORGET_AFTER = '1 hour'

/**
 * Statements for attempts from unknown networks at the same time: however many strangers try, most connections of the pool
 * are free for others.
 */
const UNKNOWN_AT_ONCE = 3

/** An attempt to sign in or to change a password. */
export type Attempt = { kind: 'sign-in' | 'password'; name: string; address: string }

/** The slots that count an attempt, and the hashes of its name with its network. */
interface Slots extends Readonly<Record<Counter, number>> {
  networks: readonly Buffer[]
}

/** An admitted attempt, with the failure count of each slot after it. */
export interface Admitted {
  slots: Slots
  failureCounts: ReadonlyMap<number, number>
  /** Whether the user of this name has signed in from this network before. */
  isKnown: boolean
}

/** An attempt that has to wait. */
export interface Throttled {
  waitSeconds: number
  /** The slot whose wait is the longest, and what it counts. */
  slot: number
  by: Counter
}

/**
 * Growing waits after failed attempts, per (name, address), per address, and per name. They are in Postgres, so that they
 * apply on all replicas and after restarts. The wait per name applies only to networks from which the user has not signed
 * in before: a client cannot lock out another user, and an account cannot be guessed at from many addresses. A name
 * without a user has the same waits.
 */
export class SignInLimits {
  readonly #database: Database
  readonly #networks: SignInNetworks
  readonly #key: string
  readonly #unknown = atMost(UNKNOWN_AT_ONCE)

  /** @param key of the hash that maps attempts to slots; with a new key all counts start at zero */
  constructor(database: Database, networks: SignInNetworks, key: string) {
    this.#database = database
    this.#networks = networks
    this.#key = key
  }

  /** The slots of an attempt; an IPv6 address is counted by its /64 network. */
  slots({ kind, name, address }: Attempt): Slots {
    const from = networkOf(address)
    return {
      pair: this.#slot(`${kind} pair ${from} ${name.toLowerCase()}`),
      address: this.#slot(`${kind} address ${from}`),
      account: this.#slot(`${kind} account ${name.toLowerCase()}`),
      networks: this.#networks.hashes(name, address)
    }
  }

  /**
   * Admits an attempt and counts it as failed in one step: of concurrent attempts, on all replicas, no more are admitted
   * than of sequential ones. Call `succeeded` or `undecided` afterwards, unless the attempt failed.
   * @throws {DatabaseUnavailableError}
   */
  async admit(slots: Slots): Promise<Admitted | Throttled> {
    const isKnown = await this.#networks.areKnown(slots.networks)
    const { pair, address, account } = slots
    const counting = (isKnown ? [pair, address] : [pair, address, account]).sort((a, b) => a - b)
    const decided = await this.#inTurn(isKnown, async () => {
      await this.#database.run(
        sql => sql`insert into sign_in_limits ${sql(counting.map(slot => ({ slot })))} on conflict do nothing`
      )
      return this.#decide(slots, counting)
    })
    const [{ wait_seconds: waitSeconds = null, locked_slot: slot = null } = {}] = decided
    if (waitSeconds !== null && slot !== null) {
      return { waitSeconds, slot, by: slot === pair ? 'pair' : slot === address ? 'address' : 'account' }
    }
    const failureCounts = decided.flatMap(({ slot, failures }): [number, number][] =>
      slot === null || failures === null ? [] : [[slot, failures]]
    )
    return { slots, failureCounts: new Map(failureCounts), isKnown }
  }

  /**
   * Counts a request with a token that is not valid, for its network alone. No sign-in is delayed by it.
   * @returns the wait when one is under way; then the request is not counted
   * @throws {DatabaseUnavailableError}
   */
  async countInvalidToken(address: string): Promise<{ waitSeconds: number } | undefined> {
    const slot = this.#slot(`token address ${networkOf(address)}`)
    const [row] = await this.#unknown(async () => {
      await this.#database.run(sql => sql`insert into sign_in_limits ${sql([{ slot }])} on conflict do nothing`)
      return this.#decide({ pair: NO_SLOT, address: slot }, [slot])
    })
    const waitSeconds = row?.wait_seconds ?? null
    return waitSeconds === null ? undefined : { waitSeconds }
  }

  /** The password was right: removes the failures of the name with the address, and this one of the other slots. */
  async succeeded(admitted: Admitted): Promise<void> {
    await this.#inTurn(admitted.isKnown, () => this.#removeFailure(admitted, { forgetsPair: true }))
  }

  /** The password was not checked: removes the failure that `admit` counted. */
  async undecided(admitted: Admitted): Promise<void> {
    await this.#inTurn(admitted.isKnown, () => this.#removeFailure(admitted, { forgetsPair: false }))
  }

  #inTurn<T>(isKnown: boolean, work: () => Promise<T>): Promise<T> {
    return isKnown ? work() : this.#unknown(work)
  }

  /**
   * One statement: all attempts from an address, or for a name, share a row, and so its lock is not held for a network
   * round trip. The values of locked rows are current, also after a wait for the lock.
   * @param counting the slots that count the attempt: without that of the name for a known network, which so never waits
   * for the attempts of others
   */
  async #decide({ pair, address }: Pick<Slots, 'pair' | 'address'>, counting: readonly number[]) {
    return this.#database.run(
      sql => sql<
        { wait_seconds: number | null; locked_slot: number | null; slot: number | null; failures: number | null }[]
      >`
        with held as (
          select slot, failures, updated_at, locked_until from sign_in_limits
          where slot in ${sql(counting)} order by slot for update
        ), locked as (
          select slot as locked_slot, greatest(1, ceil(extract(epoch from locked_until - clock_timestamp())))::int as wait_seconds
          from held
          -- A later one was written before the clock was set back.
          where locked_until > clock_timestamp()
            and locked_until <= clock_timestamp() + make_interval(secs => ${LONGEST_WAIT_SECONDS}::int)
          order by locked_until desc limit 1
        ), counted as (
          update sign_in_limits l set failures = next.failures, updated_at = now(),
            locked_until = case
              when next.failures < next.free then '-infinity'
              else clock_timestamp() + make_interval(secs => least(${LONGEST_WAIT_SECONDS}, 2 ^ least(next.failures - next.free, 20)))
            end
          from (
            select slot, case when updated_at < now() - ${FORGET_AFTER}::interval then 1 else failures + 1 end as failures,
              case slot when ${pair}::int then ${FREE.pair}::int when ${address}::int then ${FREE.address}::int
                else ${FREE.account}::int end as free
            from held
          ) next
          where l.slot = next.slot and not exists (select from locked) returning l.slot, l.failures
        )
        select wait_seconds, locked_slot, slot, failures
        from (select) one left join locked on true left join counted on true`
    )
  }

  /**
   * Removes the failure of an attempt from the slots that counted it, with a wait that it caused; a wait that another
   * attempt caused meanwhile remains. One statement, as in `admit`.
   */
  async #removeFailure(
    { slots: { pair, address, account }, failureCounts, isKnown }: Admitted,
    { forgetsPair }: { forgetsPair: boolean }
  ): Promise<void> {
    const own = (slot: number) => failureCounts.get(slot) ?? -1
    // A known network has not locked the row of the name.
    const third = isKnown ? pair : account
    await this.#database.run(
      sql => sql`
        with held as (
          select slot, failures, locked_until from sign_in_limits
          where slot in (${pair}, ${address}, ${third}) order by slot for update
        ), forgotten as (
          delete from sign_in_limits l using held where l.slot = held.slot and l.slot = ${pair} and ${forgetsPair}::boolean
        )
        update sign_in_limits l set failures = greatest(held.failures - 1, 0), locked_until = case
          when held.failures <= counter.free or held.failures = counter.own then '-infinity' else held.locked_until
        end
        from held join lateral (
          select case held.slot when ${pair}::int then ${FREE.pair}::int when ${address}::int then ${FREE.address}::int
              else ${FREE.account}::int end as free,
            case held.slot when ${pair}::int then ${own(pair)}::int when ${address}::int then ${own(address)}::int
              else ${own(account)}::int end as own
        ) counter on true
        where l.slot = held.slot and not (l.slot = ${pair} and ${forgetsPair}::boolean)`
    )
  }

  #slot(text: string): number {
    return createHmac('sha256', this.#key).update(text).digest().readUInt32BE(0) % SLOTS
  }
}
