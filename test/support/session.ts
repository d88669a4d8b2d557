import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { argon2id } from 'hash-wasm'
import { type Role, Users } from '../../src/auth/users.ts'

/** A client that keeps its cookie, as HTTPie's sessions do. */
export class Client {
  readonly #base: string
  cookie: string | undefined

  constructor(base: string) {
    this.#base = base
  }

  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(this.#base + path, {
      method,
      headers: {
        ...(this.cookie && { cookie: this.cookie }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        'accept-language': 'en',
        ...headers
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) })
    })
    const [set] = response.headers.getSetCookie()
    if (set) this.cookie = set.split(';')[0]
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      setCookie: set,
      answer: (text ? JSON.parse(text) : {}) as Record<string, unknown>
    }
  }

  signIn(username: string, password: string) {
    return this.send('POST', '/api/auth/login', { username, password })
  }
}

/** Parameters of a hash, which it contains, that take 1 ms instead of 60 to verify. */
const CHEAP = { memorySize: 64, iterations: 1, parallelism: 1, hashLength: 32, outputType: 'encoded' } as const

/** A client that is signed in as an admin with this name. */
export async function adminOf(app: FastifyInstance, username = 'ada'): Promise<Client> {
  const client = new Client(String(app.listeningOrigin))
  const { status } = await client.signIn(username, await createUser(app, username, { isAdmin: true }))
  if (status !== 200) throw new Error(`the admin was not signed in: ${status}`)
  return client
}

/** Inserts a user into the database of a service. @returns the password */
export async function createUser(
  app: FastifyInstance,
  username: string,
  {
    password = `password of ${username}`,
    isAdmin = false,
    role = isAdmin ? 'admin' : 'user'
  }: { password?: string; isAdmin?: boolean; role?: Role } = {}
): Promise<string> {
  const passwordHash = await argon2id({ ...CHEAP, password, salt: randomBytes(16) })
  await new Users(app.db).create({ username, passwordHash, role })
  return password
}
