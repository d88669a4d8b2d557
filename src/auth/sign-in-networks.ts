import { createHmac } from 'node:crypto'
import { networkOf } from '../client-address.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/** How long a network is known after the last sign-in from it, in days. */
export const KNOWN_DAYS = 90
/** Known networks of one user; of more, the one with the oldest sign-in is removed. */
const MAX_PER_USER = 32

/**
 * The networks from which users have signed in, in Postgres for all replicas: an IPv4 address, or the /64 of an IPv6
 * address. Only a keyed hash of name and network is stored.
 */
export class SignInNetworks {
  readonly #database: Database
  readonly #keys: readonly string[]

  /** @param keys of the hash: the first hashes, the networks that the others hashed are still known */
  constructor(database: Database, keys: readonly string[]) {
    this.#database = database
    this.#keys = keys
  }

  /** The hashes of a name with the network of an address, one for each key. The case of the name does not count. */
  hashes(name: string, address: string): readonly Buffer[] {
    const text = `network ${networkOf(address)} ${name.toLowerCase()}`
    return this.#keys.map(key => createHmac('sha256', key).update(text).digest())
  }

  /** Whether there was a sign-in with one of the hashes within 90 days. @throws {DatabaseUnavailableError} */
  async areKnown(hashes: readonly Buffer[]): Promise<boolean> {
    const known = await this.#database.run(
      sql => sql`
        select from sign_in_networks
        where network_hash in ${sql(hashes)} and last_sign_in_at > now() - make_interval(days => ${KNOWN_DAYS}::int)
        limit 1`
    )
    return known.length > 0
  }

  /**
   * Records the network of a sign-in, in its transaction. The row of the user is locked. Idempotent.
   * @param sessionHash of the session that was opened; nothing is recorded without one
   */
  async remember(name: string, address: string, sessionHash: Buffer, tx: TransactionSql): Promise<void> {
    const [hash] = this.hashes(name, address)
    if (!hash) return
    await tx`
      with signed_in as (select user_id from sessions where session_hash = ${sessionHash}), known as (
        insert into sign_in_networks (network_hash, user_id) select ${hash}, user_id from signed_in
        on conflict (network_hash) do update set last_sign_in_at = now(), user_id = excluded.user_id
      )
      delete from sign_in_networks where network_hash in (
        select network_hash from sign_in_networks join signed_in using (user_id)
        where network_hash <> ${hash} order by last_sign_in_at desc, network_hash offset ${MAX_PER_USER - 1}
      )`
  }
}
