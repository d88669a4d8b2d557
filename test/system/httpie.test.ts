// Sessions of the real HTTPie, which does not store a cookie that one answer both clears and sets.
import { execFile } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { createUser } from '../support/session.ts'
import { missingTool } from '../support/tools.ts'

const run = promisify(execFile)
const skip = missingTool('http', 'httpie')

t.test('HTTPie signs in three times in a row, in every state of the former session', { skip }, async t => {
  const { url: DATABASE_URL } = await migratedDatabase(t)
  const environment = { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' }
  const { app, url } = await startApp(t, environment)
  const other = await startApp(t, { ...environment, SESSION_SECRET: 'another secret of another service of the tests' })
  for (const base of [url, other.url]) await untilStatus(`${base}/health/startup`, 200)
  const directory = t.testdir()

  const states: Record<string, (client: HttpieUser) => Promise<unknown>> = {
    open: async () => undefined,
    expired: ({ name }) =>
      app.db.run(
        sql =>
          sql`update sessions set expires_at = now() from users where users.user_id = sessions.user_id and username = ${name}`
      ),
    'ended elsewhere': ({ name }) =>
      app.db.run(
        sql => sql`delete from sessions using users where users.user_id = sessions.user_id and username = ${name}`
      ),
    'signed by another secret': client => client.signIn(other.url)
  }
  await Promise.all(
    Object.entries(states).map(async ([state, enter], index) => {
      const client = await HttpieUser.create(app, `user${index}`, join(directory, String(index)))
      for (const time of [1, 2, 3]) {
        t.equal(await client.signIn(url), '200', `${state}: sign-in ${time}`)
        const { status } = await fetch(`${url}/api/auth/me`, { headers: { cookie: await client.keptCookie() } })
        t.equal(status, 200, `${state}: session ${time}`)
        if (time < 3) await enter(client)
      }
    })
  )
})

/** A user with a named session of HTTPie. */
class HttpieUser {
  readonly name: string
  readonly #password: string
  readonly #session: string

  private constructor(name: string, password: string, directory: string) {
    this.name = name
    this.#password = password
    this.#session = join(directory, 'session.json')
  }

  static async create(app: FastifyInstance, name: string, directory: string): Promise<HttpieUser> {
    await mkdir(directory)
    return new HttpieUser(name, await createUser(app, name), directory)
  }

  /** @returns the status */
  async signIn(base: string): Promise<string> {
    // A session in a file applies to every port of the host, as cookies do in a browser.
    const options = ['--ignore-stdin', '--print=h', `--session=${this.#session}`]
    const fields = [`username=${this.name}`, `password=${this.#password}`]
    const { stdout } = await run('http', [...options, `${base}/api/auth/login`, ...fields], {
      env: { ...process.env, HOME: dirname(this.#session) }
    })
    return stdout.split(' ')[1] ?? ''
  }

  /** The cookie that HTTPie sends with its next request. */
  async keptCookie(): Promise<string> {
    const { cookies } = JSON.parse(await readFile(this.#session, 'utf8')) as {
      cookies: { name: string; value: string }[]
    }
    return cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  }
}
