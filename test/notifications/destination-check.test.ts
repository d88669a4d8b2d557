import t from 'tap'
import { destinationDetails } from '../../src/notifications/destination-check.ts'

const empty = { waiting: 0, oldestSeconds: 0, givenUp: 0, givenUpLastHour: 0, errorCode: null, failing: null }

const telegramDetails = (state: Pick<Parameters<typeof destinationDetails>[1], 'configured' | 'depth'>) =>
  destinationDetails('telegram', { ...state, depthAgeMs: state.depth ? 700 : null, latencyMs: 84 })

t.test('a destination is degraded while messages fail, and ok without a configuration', async t => {
  t.hasStrict(telegramDetails({ configured: false, depth: undefined }), {
    status: 'ok',
    code: 'not_configured',
    age_ms: null
  })
  t.hasStrict(telegramDetails({ configured: true, depth: undefined }), { status: 'ok', code: null, age_ms: null })
  t.hasStrict(telegramDetails({ configured: true, depth: empty }), {
    ...{ status: 'ok', code: null, latency_ms: 84 },
    age_ms: 700
  })
  t.hasStrict(telegramDetails({ configured: true, depth: { ...empty, waiting: 1, oldestSeconds: 1.5 } }), {
    status: 'ok',
    age_ms: 1_500
  })
  t.hasStrict(telegramDetails({ configured: true, depth: { ...empty, waiting: 1, failing: 'TELEGRAM_BLOCKED' } }), {
    status: 'degraded',
    code: 'TELEGRAM_BLOCKED'
  })
})
