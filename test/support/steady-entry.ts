// A replica that never sheds load, however late its event loop is: what src/server.ts is otherwise, as far as tests of
// answers under load need it. Run in place of it as the first script that node is given.
import { pino } from 'pino'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { ENCRYPTION_KEY, SESSION_SECRET } from './app.ts'

const config = {
  SESSION_SECRET,
  ENCRYPTION_KEY,
  ...loadConfig(process.env),
  // For under-pressure 0 is no limit. The highest setting is one: a window without a sample counts as endless delay.
  MAX_EVENT_LOOP_DELAY_MS: 0
}
const log = pino({ level: config.LOG_LEVEL, base: { instance: config.INSTANCE_ID } })
const app = buildApp(config, { logger: log })
const main = await app.listen({ host: config.HOST, port: config.PORT })
const port = await app.health.startProbeThread()
log.info({ main, probes: port === undefined ? main : `http://127.0.0.1:${port}` }, 'listening')
