import t from 'tap'
import { errors } from 'undici'
import { DeadlineError } from '../../../src/async/deadline.ts'
import { UnreadableAnswer } from '../../../src/exchanges/http/answer-fields.ts'
import { failureWithoutAnswer, refusalByStatus, refusalByText } from '../../../src/exchanges/http/failures.ts'

t.test('an attempt without an answer has the error code of its cause', async t => {
  const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' })
  t.strictSame(failureWithoutAnswer(reset), { code: 'unavailable', reason: 'ECONNRESET', cause: reset })
  const unreadable = new UnreadableAnswer('not JSON')
  t.strictSame(failureWithoutAnswer(unreadable), { code: 'invalid_answer', reason: 'not JSON', cause: unreadable })
  t.strictSame(failureWithoutAnswer(new DeadlineError('late')), { code: 'timeout' })
  for (const timeout of [new errors.ConnectTimeoutError(), new errors.HeadersTimeoutError()]) {
    t.strictSame(failureWithoutAnswer(timeout), { code: 'timeout', reason: timeout.code, cause: timeout })
  }
})

t.test('a parser error, which may repeat the signed URL, is not kept as the cause', async t => {
  const details = { code: 'HPE_INVALID_STATUS', data: 'GET /?signature=secret' }
  const err = Object.assign(new errors.HTTPParserError('Invalid status'), details)
  t.strictSame(failureWithoutAnswer(err), { code: 'invalid_answer', reason: 'HPE_INVALID_STATUS' })
})

t.test('an error without a system error code is an internal error', async t => {
  for (const err of [new TypeError('x is not a function'), Object.assign(new Error('x'), { code: 'lower' }), 'text']) {
    t.equal(failureWithoutAnswer(err), null)
  }
})

t.test('a status without an error code of the exchange is mapped to an error code', async t => {
  t.equal(refusalByStatus(200), null)
  const meanings = {
    authentication: [401],
    permission: [403, 451],
    timeout: [408],
    rate_limited: [418, 429],
    unavailable: [500, 502, 503, 599],
    invalid_answer: [201, 302, 400, 404, 499]
  }
  for (const [code, statuses] of Object.entries(meanings)) {
    for (const status of statuses) t.strictSame(refusalByStatus(status), { code, exchangeCode: String(status) })
  }
})

t.test('the text of a refusal states a ban or the country, in JSON and in a page', async t => {
  const answer = (body: unknown, page: string | null = null, status = 403) =>
    refusalByText({ status, body, page, header: () => null, askedAt: 0 })
  const ban = { code: 'rate_limited', exchangeCode: '403', retryAt: 1_700_000_060_000 }
  for (const field of ['msg', 'retMsg', 'message']) {
    t.strictSame(answer({ [field]: 'IP banned until 1700000060000.' }), ban, field)
    t.strictSame(answer({ error: { [field]: 'IP banned until 1700000060000.' } }), ban, field)
  }
  t.strictSame(answer(null, '<b>banned until 1700000060000</b>'), ban)
  t.strictSame(answer({ msg: 'not available in your region' }), { code: 'location_refused', exchangeCode: '403' })
  t.equal(answer({ msg: 'not available in your region' }, null, 400), null, 'about one account or symbol')
  for (const body of [
    null,
    [],
    {},
    { msg: 1 },
    { msg: 'banned until tomorrow' },
    { msg: 'banned until 17000000600001' }
  ])
    t.equal(answer(body), null, JSON.stringify(body))
  t.equal(
    answer({ msg: 'IP banned until 1700000060000.' }, null, 200),
    null,
    'data that quote such a text are no refusal'
  )
})
