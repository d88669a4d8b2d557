// @FEAT:health-monitoring @COMP:service @TYPE:helper
import type { Config } from '../config.ts'

/** The chat of the operator; undefined without a bot or a chat. */
export function operatorChatId(config: Pick<Config, 'TELEGRAM_BOT_TOKEN' | 'TELEGRAM_CHAT_ID'>): string | undefined {
  return config.TELEGRAM_BOT_TOKEN === undefined ? undefined : config.TELEGRAM_CHAT_ID
}
