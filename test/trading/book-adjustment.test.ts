import t from 'tap'
import { AdjustmentRefused } from '../../src/trading/adjustment-refused.ts'
import { type AssetAdjustment, adjustBooks, openDifferencesOf } from '../../src/trading/book-adjustment.ts'
import { assertRows } from '../support/assert-rows.ts'
import { TestBooks } from '../support/books.ts'

/** Books with a difference of -2.5 USDT that was reported. */
async function differingBooks(t: Parameters<typeof TestBooks.create>[0]) {
  const books = await TestBooks.create(t)
  await books.open('USDT', '10')
  for (let round = 0; round < 3; round++) await books.round({ USDT: '7.5' })
  const adjust = (amount: string, rest: Partial<AssetAdjustment> = {}) =>
    books.database.transaction(tx =>
      adjustBooks(tx, {
        accountId: books.account.accountId,
        wallet: 'SPOT',
        asset: 'USDT',
        amount,
        reason: 'a fee of 2024',
        ...rest
      })
    )
  const adjustments = async () => [
    ...(await books.database.run(
      sql => sql`
        select asset, trim_scale(amount)::text as amount, exchange_kind from ledger_entries
        where kind = 'adjustment' order by entry_id`
    ))
  ]
  /** The message of the rejection of an adjustment. */
  const refusal = async (...words: Parameters<typeof adjust>) => {
    const err: unknown = await adjust(...words).catch((rejection: unknown) => rejection)
    return err instanceof AdjustmentRefused ? err.message : err
  }
  return { books, adjust, refusal, adjustments }
}

t.test('an adjustment by the whole difference ends it, once', async t => {
  const { books, adjust, adjustments } = await differingBooks(t)
  t.equal(await adjust('-2.5'), '0')
  t.equal(await adjust('-2.50'), null, 'a repeat records nothing')
  t.strictSame(await adjustments(), [{ asset: 'USDT', amount: '-2.5', exchange_kind: 'a fee of 2024' }])
  assertRows(t, await books.differences(), [{ difference: '0', is_reported: true, explained_by: 'adjustment' }])
  t.hasStrict(await books.round({ USDT: '7.5' }), { compared: 1, differences: 0 }, 'and it does not come back')
})

t.test('an adjustment by a part of the difference needs an id', async t => {
  const { books, adjust, refusal, adjustments } = await differingBooks(t)
  t.equal(await refusal('-1'), 'the difference is -2.5: a part of it needs --id')
  t.equal(await adjust('-1', { id: 'one' }), '-1.5')
  t.equal(await adjust('-1', { id: 'one' }), null)
  t.equal(await refusal('-0.5', { id: 'one' }), 'another adjustment has the id one')
  t.equal(await adjust('-1.5', { id: 'two' }), '0')
  assertRows(t, await adjustments(), [{ amount: '-1' }, { amount: '-1.5' }])
  t.hasStrict(await books.round({ USDT: '7.5' }), { differences: 0 })
})

t.test('an adjustment without a reported difference, or beyond it, is rejected', async t => {
  const { books, refusal, adjustments } = await differingBooks(t)
  for (const amount of ['2.5', '-2.6', '1'])
    t.equal(await refusal(amount), 'the difference is -2.5: the amount must not exceed it')
  const { accountId } = books.account
  const none = (asset: string, wallet: string) =>
    `account ${accountId} has no reported difference of ${asset} in ${wallet}`
  t.equal(await refusal('1', { asset: 'BTC' }), none('BTC', 'SPOT'))
  t.equal(await refusal('1', { wallet: 'FUTURES' }), none('USDT', 'FUTURES'))
  await books.round({ USDT: '7.5', ETH: '1' })
  t.equal(await refusal('1', { asset: 'ETH' }), none('ETH', 'SPOT'), 'one that is tolerated is not adjusted')
  t.strictSame(await adjustments(), [])
})

t.test('the open differences are listed, the oldest first', async t => {
  const { books } = await differingBooks(t)
  await books.round({ USDT: '7.5', ETH: '1' })
  const { accountId, name } = books.account
  const common = { accountId, account: name, exchange: 'BINANCE', causes: '' }
  assertRows(t, await books.database.run(openDifferencesOf), [
    { ...common, what: 'SPOT USDT', ours: '10', theirs: '7.5', difference: '-2.5', runs: 4, isReported: true },
    { ...common, what: 'SPOT ETH', ours: '0', theirs: '1', difference: '1', runs: 1, isReported: false }
  ])
})
