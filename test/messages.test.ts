import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type JobServices, jobTable } from '../src/jobs/index.ts'
import { jobNameIn, languageOf, message, messageKeys } from '../src/messages.ts'
import { projectRoot } from './support/service.ts'

t.test('every message exists in both languages, with the same placeholders', async t => {
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort()
  for (const key of messageKeys) {
    const raw = (language: 'ko' | 'en') =>
      message(key, language, new Proxy({}, { get: (_o, name) => `{${String(name)}}` }))
    t.ok(raw('ko') && raw('en'), key)
    t.strictSame(places(raw('ko')), places(raw('en')), key)
  }
})

// A particle depends on the last sound of the value, which is not known: 작업이, 스케줄러가.
const COUNTER = /^(?:개|건|명|분|승|시간|일|자|초|패)(?![가-힣])/

function particlesIn(text: string): string[] {
  return [...text.matchAll(/\}["'”’」]?(?:<\/\w+>)?([가-힣][가-힣()]*)/g)]
    .map(([, word = '']) => word)
    .filter(word => !COUNTER.test(word))
}

t.test('no Korean text has a particle that is attached to a placeholder', async t => {
  t.strictSame(particlesIn("'{name}을(를) 삭제', `<b>{name}</b>에서 {limit}자 이상 {count}개'"), ['을(를)', '에서'])
  const files = ['src', 'plugins', 'routes'].flatMap(folder =>
    readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => join(folder, name))
  )
  t.ok(files.includes('src/messages.ts') && files.includes('src/alerts/alert-text.ts'))
  t.strictSame(
    files.flatMap(file => particlesIn(readFileSync(join(projectRoot, file), 'utf8')).map(word => `${file}: ${word}`)),
    []
  )
})

t.test('every job has its name in both languages; the English one is that of the table of jobs', async t => {
  // The jobs do not use these before they run.
  const jobs = jobTable({ timeZone: 'Asia/Seoul' } as JobServices)
  t.strictSame(
    jobs.map(({ id, name }) => [id, name]),
    jobs.map(({ id }) => [id, jobNameIn({ jobId: id, jobName: '' }, 'en')])
  )
  for (const { id } of jobs) t.match(jobNameIn({ jobId: id, jobName: '' }, 'ko'), /^[가-힣 ]+$/)
  t.equal(jobNameIn({ jobId: 'newer', jobName: 'Newer Job' }, 'ko'), 'Newer Job')
})

t.test('placeholders are replaced', async t => {
  t.equal(message('rule.enum', 'en', { allowedValues: ['a', 'b'] }), 'must be one of: a, b')
  t.equal(message('rule.maxLength', 'ko', { limit: 3 }), '3자 이하여야 합니다')
})

t.test('a placeholder without a value is empty', async t => {
  t.equal(message('rule.minimum', 'en'), 'must be at least ')
})

t.test('the language is the preferred one of the two, Korean by default', async t => {
  const preferences: [header: string | undefined, language: 'ko' | 'en'][] = [
    [undefined, 'ko'],
    ['', 'ko'],
    ['en', 'en'],
    ['en-GB,en;q=0.8', 'en'],
    ['ko-KR,ko;q=0.9,en;q=0.8', 'ko'],
    ['de,en;q=0.5,ko;q=0.4', 'en'],
    ['en;q=0', 'ko'],
    ['fr', 'ko'],
    ['*', 'ko'],
    ['en;q=abc', 'en'],
    [`${'x'.repeat(300)},en`, 'ko']
  ]
  for (const [header, language] of preferences) t.equal(languageOf(header), language, String(header).slice(0, 40))
})
