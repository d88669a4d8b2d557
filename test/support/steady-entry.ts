// A replica that never sheds load, even if its event loop is late. Otherwise it does what src/server.ts does, as far as
// tests of answers under load need it. Run instead of it, as the first script in the arguments of node.
import { pino } from 'pino'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { ENCRYPTION_KEY, SESSION_SECRET } from './app.ts'

const config = {
  SESSION_SECRET,
  ENCRYPTION_KEY,
  ...loadConfig(process.env),
  // For under-pressure 0 means no limit. The highest value would be a limit: a window without a sample counts as
  // infinite delay.
  MAX_EVENT_LOOP_DELAY_MS: 0
}
const log = pino({ level: config.LOG_LEVEL, base: { instance: config.INSTANCE_ID } })
const app = buildApp(config, { logger: log })
const main = await app.listen({ host: config.HOST, port: config.PORT })
const port = await app.health.startProbeThread()
log.info({ main, probes: port === undefined ? main : `http://127.0.0.1:${port}` }, 'listening')
