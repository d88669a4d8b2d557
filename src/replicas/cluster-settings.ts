// @FEAT:health-monitoring @COMP:service @TYPE:core
import { createHash } from 'node:crypto'
import type { Config } from '../config.ts'

/**
 * The settings that every replica must share, as a replica publishes them. A secret is a list of fingerprints, one per
 * key: replicas that share one key agree, so that keys can be rotated one replica at a time. Null: not set.
 */
export type ClusterSettings = Readonly<Record<string, string | number | null | readonly string[]>>

/**
 * Jobs give different results with other values of these: days, prices, the exchanges' addresses, and the texts and
 * recipients of messages. Sessions begin and end on any replica.
 */
const SHARED = [
  'TIME_ZONE',
  'LANGUAGE',
  'PRICE_CACHE_TTL_SECONDS',
  'BINANCE_URL',
  'BINANCE_FUTURES_URL',
  'BYBIT_URL',
  'OKX_URL',
  'UPBIT_URL',
  'BITHUMB_URL',
  'TELEGRAM_CHAT_ID',
  'SESSION_IDLE_MINUTES',
  'SESSION_MAX_HOURS'
] as const satisfies (keyof Config)[]

/** The settings of this replica that the others must share. Holds no secret. */
export function clusterSettings(config: Config): ClusterSettings {
  return {
    ...Object.fromEntries(SHARED.map(name => [name, config[name] ?? null])),
    // The part before the colon is the public id of the bot.
    TELEGRAM_BOT_TOKEN: config.TELEGRAM_BOT_TOKEN?.split(':')[0] ?? null,
    HEARTBEAT_URL: fingerprints('HEARTBEAT_URL', config.HEARTBEAT_URL),
    ALERT_WEBHOOK_URL: fingerprints('ALERT_WEBHOOK_URL', config.ALERT_WEBHOOK_URL),
    SESSION_SECRET: fingerprints('SESSION_SECRET', config.SESSION_SECRET),
    ENCRYPTION_KEY: fingerprints('ENCRYPTION_KEY', config.ENCRYPTION_KEY)
  }
}

/** The names of the settings in which two replicas differ. A setting that one of them does not publish is not compared. */
export function differentSettings(own: ClusterSettings, other: ClusterSettings): string[] {
  return Object.keys(own).filter(name => {
    const [mine, theirs] = [own[name], other[name]]
    if (mine === undefined || theirs === undefined) return false
    if (Array.isArray(mine) && Array.isArray(theirs)) return !mine.some(value => theirs.includes(value))
    return mine !== theirs
  })
}

function fingerprints(name: string, list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map(key => createHash('sha256').update(`${name} ${key.trim()}`).digest('base64url').slice(0, 12))
}
