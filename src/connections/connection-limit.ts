import { readFileSync } from 'node:fs'

/** The ports of the service that accept connections. */
const PORTS = 3
/** The highest maximum without `MAX_CONNECTIONS`: it bounds the memory of the connections, too. */
const DEFAULT_MAX = 1_000
/** Descriptors of Node.js, its threads, files, and outgoing connections. About 40 are in use without a client. */
const RESERVED = 256
/** The share of a low limit that is reserved at most: the rest is for the ports. */
const RESERVED_SHARE = 3 / 4
/** Assumed where the system does not show its limit. */
const UNKNOWN_LIMIT = 1_024

/** How many connections each port may have, and why. */
export interface ConnectionLimit {
  /** Maximum of each port; 1 at least. */
  max: number
  /** The limit of open files that is in force. */
  openFiles: number
  /** Descriptors that are left for the database, files and outgoing connections. */
  reserved: number
  /** How many descriptors should be left. More than `reserved` where the limit of open files is low. */
  needed: number
}

/**
 * The maximum of connections of each port: the open files that are not reserved, divided by the number of ports, and
 * 1,000 at most. `MAX_CONNECTIONS` replaces the 1,000.
 * @param openFiles the limit of open files; default that of this process
 */
export function connectionLimit(
  config: { MAX_CONNECTIONS?: number | undefined; DATABASE_POOL_MAX: number },
  openFiles: number = openFilesLimit()
): ConnectionLimit {
  // Twice: a pool that is replaced still has its connections while the next one opens its own.
  const needed = RESERVED + 2 * config.DATABASE_POOL_MAX
  const reserved = Math.min(needed, Math.floor(openFiles * RESERVED_SHARE))
  const possible = Math.max(1, Math.floor((openFiles - reserved) / PORTS))
  return { max: Math.min(config.MAX_CONNECTIONS ?? DEFAULT_MAX, possible), openFiles, reserved, needed }
}

/**
 * The limit of open files that is in force. Node.js raises it to the hard limit when it starts.
 * @param path where Linux shows the limits of the process; elsewhere the limit counts as 1,024
 */
export function openFilesLimit(path = '/proc/self/limits'): number {
  try {
    const [, limit = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync(path, 'utf8')) ?? []
    if (limit === 'unlimited') return Number.MAX_SAFE_INTEGER
    return Number.parseInt(limit, 10) || UNKNOWN_LIMIT
  } catch {
    return UNKNOWN_LIMIT
  }
}
