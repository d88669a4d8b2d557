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

  /** @returns seconds to wait before the next attempt counts, 0 when it may be made */
  async waitSeconds({ pair, address }: Slots): Promise<number> {
    const [row] = await this.#database.run(
      sql => sql<{ seconds: number }[]>`
        select ceil(extract(epoch from max(locked_until) - now()))::int as seconds
        from sign_in_limits where slot in (${pair}, ${address}) and locked_until > now()`
    )
    return Math.max(0, row?.seconds ?? 0)
  }

  async failed({ pair, address }: Slots): Promise<void> {
    await this.#count(pair, FREE_PER_PAIR)
    await this.#count(address, FREE_PER_ADDRESS)
  }

  /** Forgets the failures of who from where; those of the address stay. */
  async succeeded({ pair }: Slots): Promise<void> {
    await this.#database.run(sql => sql`delete from sign_in_limits where slot = ${pair}`)
  }

  async #count(slot: number, free: number): Promise<void> {
    await this.#database.run(
      sql => sql`
        insert into sign_in_limits as l (slot, failures) values (${slot}, 1)
        on conflict (slot) do update set
          failures = case when l.updated_at < now() - ${FORGET_AFTER}::interval then 1 else l.failures + 1 end,
          locked_until = case
            when l.updated_at < now() - ${FORGET_AFTER}::interval or l.failures + 1 < ${free} then '-infinity'
            else now() + make_interval(secs => least(${LONGEST_WAIT_SECONDS}, 2 ^ least(l.failures + 1 - ${free}, 20)))
          end,
          updated_at = now()`
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
