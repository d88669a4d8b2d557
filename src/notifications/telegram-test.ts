// @FEAT:health-monitoring @COMP:service @TYPE:integration
import { SECOND } from '../async/durations.ts'
import { escapeHtml } from './html.ts'
import type { CallOptions, TelegramClient } from './telegram-client.ts'
import { TelegramError } from './telegram-error.ts'

type TelegramTestStage = 'get_me' | 'get_chat' | 'send_message'

/** The codes of a failed stage in the contract of `POST /api/system/test-telegram`. */
type TelegramTestCode =
  | 'TELEGRAM_UNAUTHORIZED'
  | 'TELEGRAM_CHAT_NOT_FOUND'
  | 'TELEGRAM_BLOCKED'
  | 'TELEGRAM_RATE_LIMITED'
  | 'TELEGRAM_UNREACHABLE'

/** One stage of the test, as in the contract. `duration_ms` is a whole number. */
interface StageResult {
  stage: TelegramTestStage
  ok: boolean
  duration_ms: number
}

/**
 * The result of the test. `stages` has the stages that began, in order. `error` is for the log. `migratedTo` is the
 * supergroup that the configured chat has become: the configuration should name it.
 */
export type TelegramTestResult = { stages: StageResult[]; migratedTo?: string } & (
  | { ok: true }
  | { ok: false; code: 'TELEGRAM_NOT_CONFIGURED' }
  | { ok: false; code: TelegramTestCode; stage: TelegramTestStage; error: TelegramError }
)

export interface TelegramTestOptions {
  /** Undefined without a configured token. */
  client: TelegramClient | undefined
  /** The operator's chat; undefined without a configured one. */
  chatId: string | undefined
  /** The language of the message. */
  language: 'ko' | 'en'
  /** Named in the message. */
  serviceName: string
  /** Longest duration of all stages together, in milliseconds. */
  deadlineMs?: number
  signal?: AbortSignal | undefined
  /** Milliseconds of a monotonic clock. Default `performance.now`. */
  now?: () => number
}

const order: readonly TelegramTestStage[] = ['get_me', 'get_chat', 'send_message']

const texts = {
  ko: (service: string) => `✅ <b>텔레그램 연결 테스트</b>\n시험 메시지입니다. 서비스: ${service}`,
  en: (service: string) => `✅ <b>Telegram connection test</b>\nThis is a test message from ${service}.`
}

/**
 * Tests the connection to the operator's chat stage by stage, and stops at the first failed stage. Sends one message.
 * Does not reject when Telegram fails or rejects a call.
 */
export async function testTelegram(options: TelegramTestOptions): Promise<TelegramTestResult> {
  const { client, language, serviceName, deadlineMs = 15 * SECOND, signal, now = () => performance.now() } = options
  const stages: StageResult[] = []
  if (client === undefined || !options.chatId) return { ok: false, code: 'TELEGRAM_NOT_CONFIGURED', stages }
  const end = now() + deadlineMs
  const { chatId } = options
  let migratedTo: string | undefined
  const steps: Record<TelegramTestStage, (bounds: CallOptions) => Promise<unknown>> = {
    get_me: bounds => client.getMe(bounds),
    get_chat: async bounds => {
      const chat = await client.getChat(chatId, bounds)
      // The next call follows the migration itself: a topic is configured for the former id.
      if (chat.migrated) migratedTo = chat.id
    },
    send_message: async bounds => {
      const sent = await client.sendMessage(chatId, texts[language](escapeHtml(serviceName)), bounds)
      if (sent.migrated) migratedTo = sent.chatId
    }
  }
  for (const stage of order) {
    const startedAt = now()
    const finish = (ok: boolean) => stages.push({ stage, ok, duration_ms: Math.round(now() - startedAt) })
    try {
      await steps[stage]({ deadlineMs: Math.max(end - startedAt, 1), signal })
      finish(true)
    } catch (err) {
      finish(false)
      if (!(err instanceof TelegramError)) throw err
      migratedTo = err.migratedTo ?? migratedTo
      return { ok: false, code: testCode(stage, err), stage, error: err, stages, ...(migratedTo && { migratedTo }) }
    }
  }
  return { ok: true, stages, ...(migratedTo && { migratedTo }) }
}

/**
 * The contract has no code for a rejected request. The requests of this test differ in the chat alone, so Telegram rejects
 * the chat: its id (get_chat), or messages of this bot to it (send_message).
 */
function testCode(stage: TelegramTestStage, { code }: TelegramError): TelegramTestCode {
  if (code === 'TELEGRAM_ABORTED' || code === 'TELEGRAM_CONFLICT') return 'TELEGRAM_UNREACHABLE'
  if (code !== 'TELEGRAM_REJECTED') return code
  if (stage === 'get_me') return 'TELEGRAM_UNREACHABLE'
  return stage === 'get_chat' ? 'TELEGRAM_CHAT_NOT_FOUND' : 'TELEGRAM_BLOCKED'
}
