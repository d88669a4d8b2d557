/** A page of a headless Chromium, controlled over a pipe with the DevTools protocol. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'

/** Time between two evaluations, so that the page gets CPU time. */
const POLL_MS = 20

interface Message {
  id?: number
  method?: string
  result?: Record<string, unknown>
  error?: { message: string }
  params?: { entry?: { level: string; text: string } }
}

export interface BrowserPage {
  open(url: string): Promise<void>
  /** Sends these headers with all requests from now on. */
  setHeaders(headers: Record<string, string>): Promise<void>
  clearCookies(): Promise<void>
  /** Resolves when an expression is truthy. It is evaluated repeatedly, also across page loads. */
  until(expression: string): Promise<void>
  /** Fills the fields of the only form and presses its button. */
  submit(fields: Record<string, string>): Promise<void>
  /** The console errors so far: violations of the content security policy, and failed requests. */
  readonly errors: string[]
}

/** Starts Chromium with an empty profile. It ends at teardown. */
export async function startChromium(t: Test): Promise<BrowserPage> {
  const profile = t.testdir()
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', `--user-data-dir=${profile}`]
  const child = spawn('chromium', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit')
  const [, , , input, output] = child.stdio
  const waiting = new Map<
    number,
    { resolve: (result: Record<string, unknown>) => void; reject: (err: Error) => void }
  >()
  const errors: string[] = []
  let rest = ''
  ;(output as Readable).setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0')
    rest = messages.pop() ?? ''
    for (const message of messages) receive(JSON.parse(message))
  })

  function receive({ id, method, result = {}, error, params }: Message): void {
    if (method === 'Log.entryAdded' && params?.entry?.level === 'error') errors.push(params.entry.text)
    const call = waiting.get(id ?? 0)
    waiting.delete(id ?? 0)
    if (error) call?.reject(new Error(error.message))
    else call?.resolve(result)
  }

  let calls = 0
  let sessionId: unknown
  const call = (method: string, params: object = {}) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const id = ++calls
      waiting.set(id, { resolve, reject })
      ;(input as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })

  const { targetId } = await call('Target.createTarget', { url: 'about:blank' })
  const attached = await call('Target.attachToTarget', { targetId, flatten: true })
  t.teardown(async () => {
    sessionId = undefined
    void call('Browser.close')
    await ended
  })
  sessionId = attached.sessionId
  for (const domain of ['Page', 'Network', 'Log']) await call(`${domain}.enable`)

  const until = async (expression: string) => {
    for (;;) {
      // Rejected while a page loads, because the context of the old page no longer exists.
      const { result } = await call('Runtime.evaluate', { expression: `!!(${expression})` }).catch(() => ({
        result: undefined
      }))
      if ((result as { value?: unknown } | undefined)?.value === true) return
      await delay(POLL_MS)
    }
  }
  return {
    open: async url => void (await call('Page.navigate', { url })),
    setHeaders: async headers => void (await call('Network.setExtraHTTPHeaders', { headers })),
    clearCookies: async () => void (await call('Network.clearBrowserCookies')),
    until,
    async submit(fields) {
      const names = Object.keys(fields).join()
      const form = `[...(document.querySelector('form:has(button:enabled)')?.elements ?? [])].filter(field => field.name)`
      await until(`${form}.map(field => field.name).join() === '${names}'`)
      const fill = `for (const field of ${form}) field.value = (${JSON.stringify(fields)})[field.name]`
      await until(`(() => { ${fill}; document.querySelector('form button').click(); return true })()`)
    },
    errors
  }
}
