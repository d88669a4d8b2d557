// The operator's commands for the books, through the real command line.
import postgres from 'postgres'
import t from 'tap'
import { runCommand } from '../support/command.ts'
import { migratedDatabase } from '../support/migrated-database.ts'

t.test('differences are listed and adjusted, and the totals are verified and repaired', async t => {
  const { url } = await migratedDatabase(t)
  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end())
  const run = (...words: string[]) => runCommand({ DATABASE_URL: url }, [], ...words)
  t.hasStrict(await run('books:list'), { code: 0, stdout: 'The books agree with the exchanges.\n' })

  await sql`insert into users (username, password_hash) values ('ada', '')`
  await sql`
    insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select user_id, 'main', 'OKX', '', '', 'none' from users`
  await sql`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    select account_id, 'SPOT', 'USDT', 10, 'opening', 'opening', 'USDT', now() from accounts`
  await sql`
    insert into book_differences (account_id, wallet, asset, ours, theirs, difference, runs, since, read_at, unexplained_at)
    select account_id, 'SPOT', 'USDT', 10, 7.5, -2.5, 3, '2026-11-25T18:19:38Z', now(), now() from accounts`
  const [account] = await sql<{ account_id: string }[]>`select account_id::text from accounts`
  const number = account?.account_id ?? ''
  const listed = await run('books:list')
  t.hasStrict(listed, { code: 0, stderr: '' })
  t.strictSame(listed.stdout.split('\n')[1]?.split(/ {2,}/), [
    ...[number, 'OKX', 'main', 'SPOT USDT', '10', '7.5', '-2.5', '3', '2026-11-25T18:19:38.000Z', 'yes']
  ])

  const adjust = (...words: string[]) => run('books:adjust', number, 'spot', 'USDT', ...words)
  const reason = ['--reason', 'a fee of a gift card']
  t.match(await adjust('-2.5'), { code: 2, stderr: /--reason/ })
  t.hasStrict(await adjust('-1e999', ...reason), {
    code: 2,
    stderr: 'the amount is a decimal number other than 0\n'
  })
  t.hasStrict(await adjust('0.0', ...reason), { code: 2, stderr: 'the amount is a decimal number other than 0\n' })
  t.hasStrict(await adjust('2.5', ...reason), {
    code: 2,
    stderr: 'the difference is -2.5: the amount must not exceed it\n'
  })
  t.hasStrict(await adjust('-2.5', '--reason', 'a\tb'), { code: 2, stderr: '--reason has 1 to 200 characters\n' })
  t.hasStrict(await adjust('-2.5', ...reason), {
    code: 0,
    stdout: `adjusted account ${number} SPOT USDT by -2.5; the difference is 0 now\n`
  })
  t.hasStrict(await adjust('-2.5', ...reason), { code: 0, stdout: 'this adjustment was recorded before\n' })
  t.hasStrict(await run('books:list'), { stdout: 'The books agree with the exchanges.\n' })
  t.strictSame(
    [...(await sql`select action, target, outcome from audit_log where action = 'books:adjust'`)],
    [
      {
        action: 'books:adjust',
        target: `${number} SPOT USDT -2.5: a fee of a gift card`,
        outcome: 'succeeded'
      }
    ]
  )

  t.hasStrict(await run('books:verify'), { code: 0, stdout: 'the totals of 1 accounts are right\n' })
  await sql`update book_totals set amount = 1`
  t.match(await run('books:verify'), { code: 1, stdout: new RegExp(`\n${number} +SPOT +USDT +entries +1 +7\\.5\n$`) })
  t.match(await run('books:verify', '--repair'), { code: 0, stdout: /set to the sums\n$/ })
  t.hasStrict(await run('books:verify'), { code: 0, stdout: 'the totals of 1 accounts are right\n' })
})

t.test('a difference of a position is adjusted, by its symbol and side', async t => {
  const { url } = await migratedDatabase(t)
  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end())
  await sql`insert into users (username, password_hash) values ('ada', '')`
  await sql`
    insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select user_id, 'main', 'BINANCE', '', '', 'none' from users`
  await sql`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    select account_id, 'FUTURES', 'USDT', 10, 'opening', 'opening', 'USDT', now() from accounts`
  await sql`
    insert into strategy_positions (holder_account_id, market_type, symbol, position_side, base, quote, quantity, entry_price)
    select account_id, 'FUTURES', 'BTCUSDT', 'LONG', 'BTC', 'USDT', 3, 100 from accounts`
  await sql`
    insert into book_differences (
      account_id, market_type, symbol, position_side, ours, theirs, difference, runs, since, read_at, unexplained_at
    ) select account_id, 'FUTURES', 'BTCUSDT', 'LONG', 3, 1, -2, 3, now(), now(), now() from accounts`
  const [account] = await sql<{ account_id: string }[]>`select account_id::text from accounts`
  const number = account?.account_id ?? ''
  const adjust = (wallet: string, side: string, ...words: string[]) =>
    runCommand({ DATABASE_URL: url }, [], 'books:adjust', number, wallet, 'BTCUSDT', '-2', '--position', side, ...words)
  const reason = ['--reason', 'closed on the site']
  t.hasStrict(await adjust('futures', 'up', ...reason), { code: 2, stderr: '--position is BOTH, LONG or SHORT\n' })
  t.hasStrict(await adjust('spot', 'long', ...reason), { code: 2, stderr: 'a position is of FUTURES\n' })
  t.hasStrict(await adjust('futures', 'long', ...reason), {
    code: 0,
    stdout: `adjusted account ${number} FUTURES BTCUSDT LONG by -2; the difference is 0 now\n`
  })
  t.hasStrict(await adjust('futures', 'long', ...reason), { code: 0, stdout: 'this adjustment was recorded before\n' })
  t.strictSame(
    [...(await sql`select target, outcome from audit_log where action = 'books:adjust'`)],
    [{ target: `${number} FUTURES BTCUSDT LONG -2: closed on the site`, outcome: 'succeeded' }]
  )
  t.strictSame(
    [...(await sql`select trim_scale(quantity)::text as quantity from strategy_positions`)],
    [{ quantity: '1' }]
  )
  t.hasStrict(await runCommand({ DATABASE_URL: url }, [], 'books:verify'), {
    code: 0,
    stdout: 'the totals of 1 accounts are right\n'
  })
})
