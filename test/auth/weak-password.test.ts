import t from 'tap'
import { commonPasswords } from '../../src/auth/common-passwords.ts'
import { PASSWORD_MIN } from '../../src/auth/passwords.ts'
import { weaknessOf } from '../../src/auth/weak-password.ts'

const judge = (password: string, username = 'ops') =>
  weaknessOf(password, { username, minLength: PASSWORD_MIN, common: commonPasswords })

/** Passwords of eight or more characters that are among the 10,000 most common leaked ones and are also patterns. */
const PATTERNS =
  '987654321 88888888 123123123 87654321 12341234 xxxxxxxx 69696969 12121212 0987654321 aaaaaaaa abcdefgh 0123456789 1234512345 19841984 poiuytrewq lkjhgfdsa 01012009 01022010 1234567890- abcabcabc'

t.test('the 10,000 most common passwords are too common, in any letter case and in reverse', async t => {
  t.ok(commonPasswords.size > 49_000, `listed: ${commonPasswords.size}`)
  const commonest = [...commonPasswords].slice(0, 10_000).filter(({ length }) => length >= PASSWORD_MIN)
  t.ok(commonest.length > 2_000, `of eight characters or more: ${commonest.length}`)
  const texts = commonest.flatMap(text => [text, text.toUpperCase(), [...text].reverse().join('')])
  t.strictSame(
    texts.filter(text => judge(text, 'x') !== 'PASSWORD_TOO_COMMON'),
    []
  )
})

t.test('repetitions, sequences and short numbers are too common', async t => {
  for (const password of PATTERNS.split(' ')) t.equal(judge(password), 'PASSWORD_TOO_COMMON', password)
})

t.test('a common password with digits or punctuation after it is too common', async t => {
  for (const password of [
    'Password1!',
    'dragon2026!!',
    'QWERTY123!',
    'letmein-2026',
    'iloveyou....',
    'ｐａｓｓｗｏｒｄ'
  ]) {
    t.equal(judge(password), 'PASSWORD_TOO_COMMON', password)
  }
})

t.test('a password must not be the name of its user, even with trivial changes', async t => {
  const cases: [username: string, passwords: string[]][] = [
    ['ops', ['ops12345', 'OPS-ops-OPS', '0p$-1234567', 'spo-spo-spo', '(ops)(ops)']],
    ['ada.lovelace', ['adalovelace', 'Lovelace.Ada', 'l0velace-1815', 'ecalevol-ada', 'A-D-A lovelace!']],
    ['trading@example.com', ['trading-com-1', 'example-2026', 'Tr4ding@Ex4mple']]
  ]
  for (const [username, passwords] of cases) {
    for (const password of passwords) t.equal(judge(password, username), 'PASSWORD_CONTAINS_NAME', password)
  }
})

t.test('other passwords are accepted, also with the name and eight further characters', async t => {
  const passwords = [
    'correct horse battery staple',
    'a new password',
    'password of ops',
    'laptops on the roof',
    '비밀번호는 길어야 한다',
    '💣💥🔥💧🌊🌪️⛄',
    '839201746518',
    'kX9#mQ2!'
  ]
  for (const password of passwords) t.equal(judge(password), undefined, password)
  t.equal(judge('banana republic', 'a'), undefined, 'a name of one letter is not compared')
})
