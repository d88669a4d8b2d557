import t from 'tap'
import { Passwords } from '../../src/auth/passwords.ts'

t.test('a password matches its own hash and no other', async t => {
  const passwords = new Passwords()
  t.teardown(() => passwords.close())
  const hash = await passwords.hash('correct horse')
  t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.not(await passwords.hash('correct horse'), hash, 'each hash has its own salt')
  t.equal(await passwords.verify('correct horse', hash), true)
  t.equal(await passwords.verify('wrong horse', hash), false)
})

t.test('no password matches without a hash', async t => {
  const passwords = new Passwords()
  t.teardown(() => passwords.close())
  t.equal(await passwords.verify('correct horse', undefined), false)
})

t.test(
  'too many concurrent hashes are rejected, a known caller is next, and all use the memory of one at a time',
  async t => {
    const passwords = new Passwords()
    t.teardown(() => passwords.close())
    await passwords.verify('x', undefined)
    const before = process.resourceUsage().maxRSS
    let verified = 0
    const verifying = Promise.allSettled(
      Array.from({ length: 70 }, () => passwords.verify('x', undefined).then(() => verified++))
    )
    await passwords.verify('x', undefined, 1)
    t.equal(verified, 2, 'only the two in the thread are before the known caller')
    const results = await verifying
    t.equal(results.filter(({ status }) => status === 'fulfilled').length, 64)
    for (const result of results) {
      if (result.status === 'rejected') t.hasStrict(result.reason, { code: 'OVERLOADED' })
    }
    const grownMb = (process.resourceUsage().maxRSS - before) / 1024
    // 64 at the same time would use 1,200 MB. The growth is from instances that the garbage collector has not freed.
    t.ok(grownMb < 300, `${Math.round(grownMb)} MB`)
  }
)

t.test('pending calls are rejected at close', async t => {
  const passwords = new Passwords()
  const waiting = passwords.hash('x')
  const rejected = t.rejects(waiting, { message: 'the password thread ended' })
  await passwords.close()
  await rejected
})

t.test('the password thread loads the list, and checks a new password', async t => {
  const passwords = new Passwords()
  t.teardown(() => passwords.close())
  t.equal(await passwords.weakness('iloveyou123', 'ops'), 'PASSWORD_TOO_COMMON')
  t.equal(await passwords.weakness('ops12345', 'ops'), 'PASSWORD_CONTAINS_NAME')
  t.equal(await passwords.weakness('correct horse battery staple', 'ops'), undefined)
})
