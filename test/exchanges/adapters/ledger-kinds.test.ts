import t from 'tap'
import type { MarketType } from '../../../src/domain/market.ts'
import { bybitLedgerEntries } from '../../../src/exchanges/adapters/bybit-ledger.ts'
import { okxLedgerEntries } from '../../../src/exchanges/adapters/okx-ledger.ts'
import { type TransferList, transferEntries } from '../../../src/exchanges/adapters/upbit-ledger.ts'

/** The words of a text. */
const words = (text: string) => text.trim().split(/\s+/)
type ReadsFills = (market: MarketType, symbol: string) => boolean
const readsAll: ReadsFills = () => true
const readsNone: ReadsFills = () => false

const bill = (type: string, subType: string, rest: object = {}) => ({
  ...{ billId: '1', type, subType, ccy: 'USDT', balChg: '-2', posBalChg: '', ts: '1700000000000' },
  ...{ instType: '', instId: '', ordId: '', tradeId: '', pnl: '', fee: '' },
  ...rest
})

t.test('OKX: each type of bills has its kind', async t => {
  const kinds: Readonly<Record<string, string>> = {
    transfer: '1/11 1/12 12/200 12/201 12/202 12/203 26/296 26/297 1/283 1/290',
    interest: '7/9 7/14 4/17 33/293 33/294 33/295 381/381',
    funding: '8/173 8/174',
    liquidation: '5/104 5/110 9/125 9/127 10/108 10/117',
    conversion: '11/118 11/119 27/318 27/319 28/236 28/237 29/224 29/225 30/320 30/321 4/114 4/115 33/376 33/377',
    borrow: '15/210 15/212 16/306 33/307 16/',
    repay: '15/211 15/213 22/308 33/309 4/16 22/ 4/',
    commission: '250/250 1/280 250/',
    rebate: '251/251 1/281 1/282 251/',
    dividend: '12/372 12/373 12/374 12/375',
    other: '2/1 3/112 3/170 13/131 14/204 24/270 32/324 34/355 6/160 999/ 999/toString toString/1'
  }
  for (const [kind, types] of Object.entries(kinds)) {
    for (const word of words(types)) {
      const [type = '', subType = ''] = word.split('/')
      const exchangeKind = subType === '' ? type : word
      t.strictSame(
        okxLedgerEntries(bill(type, subType), readsAll),
        [
          {
            ...{ exchangeEntryId: '1', asset: 'USDT', amount: '-2', kind, exchangeKind, exchangeSymbol: null },
            at: 1_700_000_000_000
          }
        ],
        word
      )
    }
  }
})

t.test('OKX: bills that are in the lists of fills are no entries', async t => {
  const trade = { instType: 'SPOT', instId: 'BTC-USDT', ordId: '7', tradeId: '8' }
  const subTypes = words(`
    1 2 3 4 5 6 100 101 102 103 104 105 106 107 110 111 112 113 118 119 125 126 127 128 204 205 206 207 208 209
    212 213 236 237 270 271 272 273 274 275 324 325 326 327 328 329 376 377`)
  for (const subType of subTypes) t.strictSame(okxLedgerEntries(bill('2', subType, trade), readsAll), [], subType)
  const counts = (change: object, reads = readsAll) =>
    okxLedgerEntries(bill('2', '1', { ...trade, ...change }), reads).length
  t.equal(counts({}), 0)
  t.equal(counts({ subType: '173' }), 1)
  t.equal(counts({ ordId: '' }), 1)
  t.equal(counts({ ordId: '0' }), 1)
  t.equal(counts({ tradeId: '' }), 1)
  t.equal(counts({ tradeId: '0' }), 1)
  t.equal(counts({ instId: '' }), 1)
  for (const instType of ['', 'MARGIN', 'FUTURES', 'OPTION']) t.equal(counts({ instType }), 1, instType)
  t.equal(counts({}, readsNone), 1)
  const asked: [MarketType, string][] = []
  const reads = (market: MarketType, symbol: string) => asked.push([market, symbol]) > 0
  counts({}, reads)
  counts({ instType: 'SWAP', instId: 'BTC-USDT-SWAP' }, reads)
  t.strictSame(asked, [
    ['SPOT', 'BTC-USDT'],
    ['FUTURES', 'BTC-USDT-SWAP']
  ])
})

t.test('OKX: the result and the fee of a forced fill are no part of its entry', async t => {
  const trade = { instType: 'SWAP', instId: 'BTC-USDT-SWAP', ordId: '7', tradeId: '-8' }
  const amounts = (type: string, rest: object) =>
    okxLedgerEntries(bill(type, '104', { ...trade, ...rest }), readsAll).map(({ amount }) => amount)
  t.strictSame(amounts('5', { balChg: '-53', pnl: '-50', fee: '-1' }), ['-2'])
  t.strictSame(amounts('9', { balChg: '-43', posBalChg: '-10', pnl: '-50', fee: '-1' }), ['-2'])
  t.strictSame(amounts('5', { balChg: '-51', pnl: '-50', fee: '-1' }), ['0'])
  t.strictSame(amounts('2', { balChg: '-53', pnl: '-50', fee: '-1' }), [])
  t.strictSame(amounts('5', { balChg: '-53', pnl: '', fee: '-1' }), [])
  t.strictSame(amounts('5', { balChg: '-53', pnl: '-50', fee: '' }), [])
  t.strictSame(amounts('5', { balChg: '-53', pnl: '-50', fee: '-1', instType: 'SPOT' }), [])
})

const row = (type: string, rest: object = {}) => ({
  ...{ id: '1', type, currency: 'USDT', change: '-2', transactionTime: '1700000000000', cashFlow: '', funding: '' },
  ...{ symbol: '', category: '', orderId: '', tradeId: '' },
  ...rest
})

t.test('Bybit: each type of the log has its kind', async t => {
  const kinds: Readonly<Record<string, string>> = {
    funding: 'SETTLEMENT',
    transfer: `TRANSFER_IN TRANSFER_OUT TRANSFER_IN_INS_LOAN TRANSFER_OUT_INS_LOAN INSTITUTION_LOAN_TRANSFER_IN
      INSTITUTION_LOAN_TRANSFER_OUT INSTITUTION_LOAN_WITHOUT_WITHDRAW INSTITUTION_LOAN_RESERVE_IN
      INSTITUTION_LOAN_RESERVE_OUT PREMARKET_TRANSFER_IN PREMARKET_TRANSFER_OUT BONUS_TRANSFER_IN BONUS_TRANSFER_OUT
      PEF_TRANSFER_IN PEF_TRANSFER_OUT TOKENS_SUBSCRIPTION TOKENS_REDEMPTION LOANS_PLEDGE_ASSET LOANS_ASSET_REDEMPTION
      FLEXIBLE_STAKING_SUBSCRIPTION FLEXIBLE_STAKING_REDEMPTION FLEXIBLE_STAKING_REFUND FIXED_STAKING_SUBSCRIPTION
      FIXED_STAKING_REFUND ONCHAINEARN_SUBSCRIPTION ONCHAINEARN_REDEMPTION ONCHAINEARN_REDEMPTION_PRINCIPAL
      ONCHAINEARN_REFUND STRUCTURE_PRODUCT_SUBSCRIPTION STRUCTURE_PRODUCT_REFUND CLASSIC_WEALTH_MANAGEMENT_SUBSCRIPTION
      PREMIMUM_WEALTH_MANAGEMENT_SUBSCRIPTION PREMIMUM_WEALTH_MANAGEMENT_REFUND PREMIUM_WEALTH_MANAGEMENT_SUBSCRIPTION
      PREMIUM_WEALTH_MANAGEMENT_REFUND LIQUIDITY_MINING_SUBSCRIPTION LIQUIDITY_MINING_REFUND PWM_SUBSCRIPTION PWM_REFUND
      DEFI_INVESTMENT_SUBSCRIPTION DEFI_INVESTMENT_REFUND DEFI_INVESTMENT_REDEMPTION CUSTODY_LOCK CUSTODY_UNLOCK
      CUSTODY_UNLOCK_REFUND DBS_CASH_OUT DBS_CASH_IN DBS_CASH_OUT_TR DBS_CASH_IN_TR CUSTODY_CASH_RECOVER_TR`,
    interest: `INTEREST FIXED_INTEREST FIXED_INTEREST_REFUND LOANS_INTEREST INTEREST_REPAYMENT_INS_LOAN
      AUTO_INTEREST_REPAYMENT_INS_LOAN INSTITUTION_PAYBACK_INTEREST_OUT INSTITUTION_LIQ_INTEREST_OUT`,
    borrow: 'BORROWED_AMOUNT_INS_LOAN INSTITUTION_LOAN_IN LOANS_BORROW_FUNDS',
    repay: `PRINCIPLE_REPAYMENT_INS_LOAN AUTO_PRINCIPLE_REPAYMENT_INS_LOAN INSTITUTION_PAYBACK_PRINCIPAL_OUT
      INSTITUTION_LIQ_PRINCIPAL_OUT LOANS_REPAY_FUNDS`,
    rebate: 'FEE_REFUND',
    commission: 'SPREAD_FEE_OUT BROKER_ABACCOUNT_FEE CUSTODY_NETWORK_FEE CUSTODY_SETTLE_FEE PEF_PROFIT_SHARE',
    liquidation: 'LIQUIDATION PART_LIQUIDATION ADL POSITION_TAKE_OVER INSURANCE_FUND',
    conversion: `CURRENCY_BUY CURRENCY_SELL CURRENCY_BUY_MANUEL CURRENCY_SELL_MANUEL CONVERT OTC_TRADE SPOT_REPAYMENT_SELL
      SPOT_REPAYMENT_BUY AUTO_SOLD_COLLATERAL_INS_LOAN AUTO_BUY_LIABILITY_INS_LOAN INSTITUTION_EXCHANGE_SELL
      INSTITUTION_EXCHANGE_BUY EARNING_REDEMPTION_SELL EARNING_REDEMPTION_BUY IDN_CONVERT_IN IDN_CONVERT_OUT`,
    dividend: `AIRDROP AIRDROP_OUT AIRDROP_EFTD AIRDROP_OUT_EFTD AIRDROP_FIAT AIRDROP_OUT_FIAT BONUS BONUS_RECOLLECT`,
    other: 'TRADE DELIVERY AUTO_DEDUCTION PERP_SYMBOL_SETTLE CLOSEPNL ALPHA_SMALL_TOKEN_REFUND NEW toString'
  }
  for (const [kind, types] of Object.entries(kinds)) {
    for (const exchangeKind of words(types)) {
      t.strictSame(
        bybitLedgerEntries(row(exchangeKind), readsAll),
        [
          {
            ...{ exchangeEntryId: '1', asset: 'USDT', exchangeKind, exchangeSymbol: null, at: 1_700_000_000_000 },
            ...{ amount: '-2', kind }
          }
        ],
        exchangeKind
      )
    }
  }
  const loans = `BORROW REPAY FLOATING_TO_FIXED_BORROW FLOATING_TO_FIXED_REPAY MANUAL_LOANS_BORROW MANUAL_LOANS_REPAY
    AUTO_LOANS_BORROW AUTO_LOANS_REPAY`
  for (const type of words(loans)) t.strictSame(bybitLedgerEntries(row(type), readsAll), [], type)
})

t.test('Bybit: rows that are executions are no entries', async t => {
  const trade = { symbol: 'BTCUSDT', category: 'linear', orderId: 'o', tradeId: 't' }
  const counts = (type: string, change: object = {}, reads = readsAll) =>
    bybitLedgerEntries(row(type, { ...trade, ...change }), reads).length
  for (const type of ['TRADE', 'LIQUIDATION', 'PART_LIQUIDATION', 'ADL']) t.equal(counts(type), 0, type)
  for (const type of ['SETTLEMENT', 'DELIVERY', 'CLOSEPNL']) t.equal(counts(type), 1, type)
  t.equal(counts('TRADE', { category: 'spot' }), 0)
  for (const category of ['', 'inverse', 'option', 'toString']) t.equal(counts('TRADE', { category }), 1, category)
  for (const field of ['symbol', 'orderId', 'tradeId']) t.equal(counts('TRADE', { [field]: '' }), 1, field)
  t.equal(counts('TRADE', {}, readsNone), 1)
  t.equal(counts('TRADE', { funding: '0.00' }), 0)
  const asked: [MarketType, string][] = []
  const reads = (market: MarketType, symbol: string) => asked.push([market, symbol]) > 0
  counts('TRADE', {}, reads)
  counts('TRADE', { category: 'spot' }, reads)
  t.strictSame(asked, [
    ['FUTURES', 'BTCUSDT'],
    ['SPOT', 'BTCUSDT']
  ])
})

const DEPOSITS: TransferList = { path: '/v1/deposits', kind: 'deposit', idPrefix: 'x-' }
const WITHDRAWALS: TransferList = { path: '/v1/withdraws', kind: 'withdrawal', idPrefix: '' }

const transfer = (state: string, rest: object = {}) => ({
  ...{ uuid: 'u', currency: 'BTC', state, amount: '2', created_at: '2024-07-09T16:31:08+09:00' },
  ...rest
})

t.test('Upbit and Bithumb: each state of a transfer', async t => {
  const progressOf = (list: TransferList, state: string) => {
    const read = transferEntries(transfer(state), list)
    return read === 'pending' ? read : read.length > 0 ? 'done' : 'void'
  }
  const deposits: Readonly<Record<string, string>> = {
    done: 'ACCEPTED DONE DEPOSIT_ACCEPTED accepted done',
    pending: `PROCESSING TRAVEL_RULE_SUSPECTED REFUNDING REQUESTED_PENDING REQUESTED_PROCESSING DEPOSIT_PROCESSING
      REFUNDING_PENDING REFUNDING_PROCESSING REFUNDED_PROCESSING`,
    void: `CANCELLED CANCELED REJECTED REFUNDED REQUESTED_SYSTEM_REJECTED REQUESTED_ADMIN_REJECTED DEPOSIT_CANCELLED
      REFUNDING_SYSTEM_REJECTED REFUNDING_ADMIN_REJECTED REFUNDING_ACCEPTED REFUNDED_ACCEPTED REFUNDED_CANCELLED`
  }
  const withdrawals: Readonly<Record<string, string>> = {
    done: 'DONE done',
    pending: 'WAITING PROCESSING',
    void: 'FAILED CANCELLED CANCELED REJECTED'
  }
  for (const [list, states] of [[DEPOSITS, deposits] as const, [WITHDRAWALS, withdrawals] as const]) {
    for (const [progress, ofProgress] of Object.entries(states)) {
      for (const state of words(ofProgress)) t.equal(progressOf(list, state), progress, `${list.kind} ${state}`)
    }
    for (const state of ['LOST', 'toString']) t.throws(() => progressOf(list, state), { message: 'state is unknown' })
  }
  t.throws(() => progressOf(WITHDRAWALS, 'ACCEPTED'), { message: 'state is unknown' })
})

t.test('Upbit and Bithumb: the amount and the fee of a transfer are entries of their own', async t => {
  const at = Date.UTC(2024, 6, 9, 7, 31, 8)
  const entry = { asset: 'BTC', exchangeSymbol: null, at }
  t.strictSame(transferEntries(transfer('DONE', { fee: '0.1', transaction_type: 'internal' }), DEPOSITS), [
    { ...entry, exchangeEntryId: 'x-u', exchangeKind: 'deposit/internal', amount: '2', kind: 'deposit' },
    { ...entry, exchangeEntryId: 'x-u', exchangeKind: 'deposit/fee', amount: '-0.1', kind: 'commission' }
  ])
  t.strictSame(transferEntries(transfer('DONE', { done_at: '2024-07-09T16:40:00+09:00' }), WITHDRAWALS), [
    ...[
      { amount: '-2', kind: 'withdrawal', exchangeKind: 'withdrawal/default' },
      { amount: '0', kind: 'commission', exchangeKind: 'withdrawal/fee' }
    ].map(rest => ({ ...entry, at: Date.UTC(2024, 6, 9, 7, 40), exchangeEntryId: 'u', ...rest }))
  ])
  for (const wrong of [{ amount: '-1' }, { fee: '-1' }]) {
    t.throws(() => transferEntries(transfer('DONE', wrong), DEPOSITS), { message: 'an amount is negative' })
  }
  t.throws(() => transferEntries(transfer('DONE', { created_at: null }), DEPOSITS), {
    message: 'created_at is missing'
  })
})
