// Runs that are interrupted at each statement, and random histories of an account with such runs between their events.
import { Big } from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { DAY, HOUR, MINUTE } from '../../src/async/durations.ts'
import { INTERRUPTIONS, interruptedTransactions, isInterruption } from '../support/interrupted-transactions.ts'
import { ledgerSync, readingsOf, sumsOf } from '../support/ledger-sync.ts'
import { totalOf } from '../support/simulated-exchange/ledger.ts'

t.test('a run that is interrupted at any statement loses nothing and records nothing twice', async t => {
  const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { ageMs: 12 * DAY })
  let expected = { spot: new Big(0), futures: new Big(0) }
  let interrupted = 0
  for (const kind of INTERRUPTIONS) {
    for (let which = 1; which <= 4; which++) {
      for (let before = 1; before <= (kind === 'torn' || kind === 'severed' ? 3 : 1); before++) {
        for (const days of [9, 2]) {
          ledger.deposit(account, 'USDT', '1.5', { at: start - days * DAY - which })
          ledger.fund(account, 'BTCUSDT', 'USDT', '-0.25', { at: start - days * DAY - which })
        }
        expected = { spot: expected.spot.plus('3'), futures: expected.futures.minus('0.5') }
        // All is read from the beginning again.
        await database.run(sql => sql`delete from ledger_readings`)
        const { transaction, signal } = interruptedTransactions(database, kind, before, which)
        await sync(0, { transaction, signal }).catch(err => {
          if (!isInterruption(err)) throw err
          interrupted++
        })
        const { SPOT, FUTURES } = await readingsOf(database)
        const reached = Math.max(SPOT?.readUntil ?? 0, FUTURES?.readUntil ?? 0)
        t.ok(reached <= start, `${kind} ${which} ${before}: ${reached} is at most ${start}`)
        await sync()
        t.strictSame(await sumsOf(database, seeded), {
          'FUTURES USDT': expected.futures.toFixed(),
          'SPOT USDT': expected.spot.toFixed()
        })
      }
    }
  }
  t.ok(interrupted >= 24, `${interrupted} runs were interrupted`)
})

/** What may happen to an account between two runs. */
const EVENTS = [
  'deposit',
  'pending',
  'credit',
  'withdraw',
  'cancel',
  'move',
  'back',
  'fund',
  'convert',
  'dust',
  'reward'
] as const

t.test('whatever happens, the entries add up to the wallets, also after runs that were interrupted', async t => {
  const event = fc.record({ what: fc.constantFrom(...EVENTS), amount: fc.integer({ min: 1, max: 10_000_000 }) })
  const step = fc.record({
    events: fc.array(event, { maxLength: 6 }),
    hours: fc.integer({ min: 1, max: 400 }),
    interruption: fc.constantFrom(...INTERRUPTIONS, null, null),
    which: fc.integer({ min: 1, max: 4 }),
    before: fc.integer({ min: 1, max: 3 })
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async steps => {
      const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { ageMs: 80 * DAY })
      let at = start - 80 * DAY
      const pending: ReturnType<typeof ledger.deposit>[] = []
      const happen = ({ what, amount: units }: { what: (typeof EVENTS)[number]; amount: number }) => {
        const amount = new Big(units).div(1_000_000).toFixed()
        at += 1_000
        if (what === 'deposit') ledger.deposit(account, 'USDT', amount, { at })
        else if (what === 'pending') pending.push(ledger.deposit(account, 'BTC', amount, { at, state: 'pending' }))
        else if (what === 'withdraw') ledger.withdraw(account, 'USDT', amount, { fee: '0.5', at })
        else if (what === 'cancel')
          ledger.fail(account, ledger.withdraw(account, 'USDT', amount, { at, state: 'pending' }))
        else if (what === 'move') ledger.transfer(account, 'USDT', amount, 'SPOT', 'FUTURES', { at })
        else if (what === 'back') ledger.transfer(account, 'USDT', amount, 'FUTURES', 'FUNDING', { at })
        else if (what === 'fund') ledger.fund(account, 'BTCUSDT', 'USDT', `-${amount}`, { at })
        else if (what === 'reward') ledger.add(account, { kind: 'dividend', asset: 'BNB', amount, at })
        else if (what === 'credit') for (const entry of pending.splice(0)) ledger.complete(account, entry, at)
        else {
          const word = what === 'dust' ? { word: 'dust' } : {}
          ledger.convert(account, { asset: 'USDT', amount }, { asset: 'BNB', amount: '0.01' }, { at, ...word })
        }
      }
      for (const { events, hours, interruption, which, before } of steps) {
        events.forEach(happen)
        at = Math.min(at + hours * HOUR, start - HOUR)
        const { transaction, signal } = interruptedTransactions(database, interruption ?? 'torn', before, which)
        await sync(at - start, interruption === null ? {} : { transaction, signal }).catch(err => {
          if (!isInterruption(err)) throw err
        })
      }
      happen({ what: 'credit', amount: 1 })
      for (let run = 0; run < 24; run++) await sync(run * 5 * MINUTE)
      const wallets = (['FUTURES', 'SPOT'] as const).flatMap(market =>
        [...account.balances[market].keys()]
          .sort()
          .map(asset => [`${market} ${asset}`, totalOf(account, market, asset)])
      )
      t.strictSame(await sumsOf(database, seeded), Object.fromEntries(wallets.filter(([, total]) => total !== '0')))
    }),
    { numRuns: 8, seed: 22 }
  )
})
