// @FEAT:health-monitoring @COMP:service @TYPE:core
import { backOffMs } from '../async/back-off.ts'
import { MINUTE, SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { CheckDetails } from '../domain/check-details.ts'
import type { Log } from '../log/log.ts'
import type { Language } from '../messages.ts'
import type { TelegramClient } from '../notifications/telegram-client.ts'
import { TelegramError } from '../notifications/telegram-error.ts'
import { readUpdates, type Update } from '../notifications/telegram-update.ts'
import type { CommandHandler } from './command-handler.ts'
import { COMMAND_NAMES } from './command-line.ts'
import { NotClaimedError, type PollingState, type PollingStore } from './polling-store.ts'
import { isRefusalOfReplica, type PressHandler } from './press-handler.ts'
import { commandTexts } from './words.ts'

/** How long Telegram waits for an update, in seconds, and the deadline of the call. */
const WAIT_SECONDS = 25
const CALL_MS = 35 * SECOND
/** The longest answer: updates of this number, each with the longest text and the one that it answers. */
const UPDATES_PER_POLL = 20
/** How often a replica without the lease asks for it. */
const IDLE_MS = 5 * SECOND
/** A server that does not wait is asked once in this time. */
const MIN_POLL_MS = SECOND
const FAILURES = { minMs: SECOND, maxMs: 5 * MINUTE }
/** Another poller is not disturbed more often. */
const CONFLICT_MS = 10 * SECOND
/** The check is degraded when Telegram has not answered for this long. */
const OLD_POLL_MS = 2 * MINUTE
const LANGUAGES: readonly Language[] = ['ko', 'en']

export interface CommandPollerOptions {
  store: PollingStore
  handler: Pick<CommandHandler, 'handle'>
  presses: Pick<PressHandler, 'showResults' | 'settled'>
  /** A client of its own: a long poll occupies its connection. */
  client: Pick<TelegramClient, 'getMe' | 'getUpdates' | 'setCommands'>
  log: Log
  /** The name of this replica. */
  instance: () => string
  /** Whether this replica may handle commands: it neither drains nor differs in its settings. */
  mayPoll: () => boolean
  /** The chat whose menu has the commands; undefined: none. */
  menuChatId: string | undefined
  language: Language
  /** Replaces `IDLE_MS`, for tests. */
  idleMs?: number
  /** Replaces `WAIT_SECONDS`, for tests. */
  waitSeconds?: number
}

/**
 * Reads the updates of the bot by long polling, on the one replica that holds the lease, and has them handled. A failure
 * ends the lease: another replica may poll after the wait. It disturbs no webhook and no other poller of the bot.
 */
export class CommandPoller {
  readonly #options: CommandPollerOptions
  readonly #poller: Poller
  #isReady: Promise<void> | undefined
  #holds = false
  #isPrepared = false
  #bot: string | undefined
  #state: (PollingState & { readMs: number }) | undefined
  #latencyMs: number | null = null
  #loggedCode: string | undefined

  constructor(options: CommandPollerOptions) {
    this.#options = options
    const { log, idleMs = IDLE_MS } = options
    this.#poller = new Poller({
      poll: signal => this.#poll(signal),
      intervalMs: idleMs,
      backOff: { minMs: SECOND, maxMs: 10 * SECOND },
      log,
      failedMessage: 'telegram commands not read',
      recoveredMessage: 'telegram commands read again'
    })
  }

  /** Starts to poll; call it when the schema exists. Idempotent. */
  start(): void {
    this.#poller.start()
  }

  /** Aborts the poll, waits for the update that is handled, and ends the lease. Idempotent, never rejects. */
  async stop(): Promise<void> {
    await this.#poller.stop()
    await this.#release().catch((err: unknown) =>
      this.#options.log.debug({ err }, 'lease of telegram commands not released')
    )
  }

  /** Waits until the ends of started runs are recorded. The runs must end. Never rejects. */
  settled(): Promise<void> {
    return this.#options.presses.settled()
  }

  /** The polling of the cluster; the age is that of Telegram's last answer, the latency that of the last reading of the state. */
  details(): CheckDetails {
    const { errorCode = null, failingSince = null } = this.#state ?? {}
    const { pollAgeMs, readMs } = this.#state ?? { pollAgeMs: null, readMs: 0 }
    const ageMs = pollAgeMs === null ? null : Math.round(pollAgeMs + performance.now() - readMs)
    const code = errorCode ?? (ageMs !== null && ageMs > OLD_POLL_MS ? 'no_poll' : null)
    return {
      name: 'telegram_commands',
      status: code === null ? 'ok' : 'degraded',
      code,
      latency_ms: this.#latencyMs,
      age_ms: ageMs,
      since: errorCode === null ? null : (failingSince?.toISOString() ?? null)
    }
  }

  async #poll(signal: AbortSignal): Promise<number | undefined> {
    const { store, instance, mayPoll } = this.#options
    if (!mayPoll()) return this.#watch()
    this.#isReady ??= store.register()
    await this.#isReady.catch((err: unknown) => {
      this.#isReady = undefined
      throw err
    })
    const askedMs = performance.now()
    const { held, offset, failures, state } = await store.turn(instance())
    this.#setState(state, askedMs)
    // The name of the bot and the menu may have changed since this replica held the lease.
    if (!held || !this.#holds) this.#isPrepared = false
    this.#holds = held
    if (!held) return undefined
    const startedMs = performance.now()
    const updates = await this.#read(offset, failures, signal)
    if (!updates) return undefined
    if (signal.aborted || !mayPoll()) return this.#release()
    return this.#handle(updates, performance.now() - startedMs, signal)
  }

  /** @returns undefined after a failure */
  async #read(offset: number | undefined, failures: number, signal: AbortSignal): Promise<Update[] | undefined> {
    const { client, presses, store, waitSeconds = WAIT_SECONDS } = this.#options
    try {
      if (!this.#isPrepared) await this.#prepare(signal)
      await presses.showResults(signal)
      const asked = { offset, limit: UPDATES_PER_POLL, waitSeconds }
      const updates = readUpdates(await client.getUpdates(asked, { deadlineMs: CALL_MS, signal }))
      await store.recordAnswer()
      this.#recovered()
      return updates.filter(({ updateId }) => offset === undefined || updateId >= offset)
    } catch (err) {
      if (!(err instanceof TelegramError)) throw err
      return signal.aborted ? undefined : this.#failed(err, failures)
    }
  }

  async #handle(updates: readonly Update[], tookMs: number, signal: AbortSignal): Promise<number | undefined> {
    if (updates.length === 0) return Math.max(0, MIN_POLL_MS - tookMs)
    try {
      await this.#options.handler.handle(updates, this.#bot, signal)
      return 0
    } catch (err) {
      if (err instanceof NotClaimedError) {
        this.#holds = false
        return undefined
      }
      if (isRefusalOfReplica(err)) return this.#release()
      throw err
    }
  }

  /** Reads the name of the bot, and sets the menu of the operator's chat in both languages. @throws {TelegramError} */
  async #prepare(signal: AbortSignal): Promise<void> {
    const { client, menuChatId: chatId, language, log } = this.#options
    const { username } = await client.getMe({ signal })
    this.#bot = username?.toLowerCase()
    this.#isPrepared = true
    if (chatId === undefined) return
    const menu = (of: Language) => COMMAND_NAMES.map(command => ({ command, description: commandTexts[command][of] }))
    try {
      await client.setCommands(menu(language), { chatId, signal })
      for (const one of LANGUAGES) await client.setCommands(menu(one), { chatId, language: one, signal })
    } catch (err) {
      if (!(err instanceof TelegramError)) throw err
      log.warn({ err }, 'menu of telegram commands not set')
    }
  }

  /** Ends the lease. The database has the time of the next poll, of this replica or of another one that reaches Telegram. */
  async #failed(err: TelegramError, failures: number): Promise<undefined> {
    const { store, log } = this.#options
    const code = err.code === 'TELEGRAM_CONFLICT' ? (err.reason ?? err.code) : err.code
    const leastMs = err.code === 'TELEGRAM_CONFLICT' ? CONFLICT_MS : 0
    const waitMs = Math.max(backOffMs(FAILURES, Math.min(failures + 1, 30)), err.retryAfterMs ?? 0, leastMs)
    if (this.#loggedCode !== code) log.warn({ err, wait_ms: Math.round(waitMs) }, 'telegram commands not polled')
    this.#loggedCode = code
    this.#holds = false
    await store.release({ code, waitMs })
    if (!this.#state) return
    this.#state = { ...this.#state, errorCode: code, failingSince: this.#state.failingSince ?? new Date() }
  }

  #recovered(): void {
    if (this.#state)
      this.#state = { ...this.#state, errorCode: null, failingSince: null, pollAgeMs: 0, readMs: performance.now() }
    if (this.#loggedCode === undefined) return
    this.#options.log.info({ code: this.#loggedCode }, 'telegram commands polled again')
    this.#loggedCode = undefined
  }

  /** Reads the state of the cluster without the lease. */
  async #watch(): Promise<undefined> {
    await this.#release()
    const askedMs = performance.now()
    const state = await this.#options.store.state()
    if (state) this.#setState(state, askedMs)
  }

  #setState(state: PollingState, askedMs: number): void {
    const readMs = performance.now()
    this.#state = { ...state, readMs }
    this.#latencyMs = Math.round(readMs - askedMs)
  }

  async #release(): Promise<undefined> {
    if (!this.#holds) return
    this.#holds = false
    await this.#options.store.release()
  }
}
