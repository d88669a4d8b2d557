import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Agent, request } from 'undici'

/** One probe: the time of the request, the duration and the answer. All times in milliseconds. */
export interface Probed {
  url: string
  /** By `performance.now()`. */
  sentMs: number
  tookMs: number
  /** 0 without an answer. */
  status: number
  body: Record<string, unknown>
}

/** The time after which a probe without an answer counts as failed. */
const PROBE_TIMEOUT_MS = 5_000

/** Sends probes as an orchestrator does and stores every answer. */
export class Prober {
  readonly results: Probed[] = []
  readonly #agent = new Agent({ connections: 64, pipelining: 1 })
  #running = true
  readonly #underWay = new Set<Promise<unknown>>()
  #paces: Promise<void>[] = []

  constructor(t: Test) {
    t.teardown(async () => {
      await this.stop()
      await this.#agent.close()
    })
  }

  /** Sends one probe now. Never rejects. */
  async probe(url: string): Promise<Probed> {
    const sentMs = performance.now()
    const probed: Probed = { url, sentMs, tookMs: 0, status: 0, body: {} }
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
      const { statusCode, body } = await request(url, { dispatcher: this.#agent, signal })
      probed.body = (await body.json()) as Record<string, unknown>
      probed.status = statusCode
    } catch (err) {
      probed.body = { failure: String(err) }
    }
    probed.tookMs = performance.now() - sentMs
    this.results.push(probed)
    return probed
  }

  /** Probes each address at a fixed rate, also while answers are late, until stopped. */
  start(urls: string[], perSecond: number): void {
    this.#running = true
    this.#paces = urls.map(url => this.#pace(url, 1_000 / perSecond))
  }

  /** Stops sending and waits for pending answers. It can be started again. */
  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#paces)
    await Promise.all(this.#underWay)
  }

  /** Resolves with the next probe that matches. */
  async until(fits: (probed: Probed) => boolean): Promise<Probed> {
    for (let next = this.results.length; ; await sleep(5)) {
      for (; next < this.results.length; next++) {
        const probed = this.results[next]
        if (probed && fits(probed)) return probed
      }
    }
  }

  async #pace(url: string, everyMs: number): Promise<void> {
    for (let due = performance.now(); this.#running; due += everyMs) {
      const probe = this.probe(url)
      this.#underWay.add(probe)
      void probe.finally(() => this.#underWay.delete(probe))
      await sleep(Math.max(0, due + everyMs - performance.now()))
    }
  }
}
