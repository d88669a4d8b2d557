// Probes addresses every 10 ms from a process of its own: `prober.js URL [URL …]`. For each line of its input it prints
// one line of JSON about the probes since the last line: count, median, worst (ms), failed. Ends when its input ends.
import { Agent, get } from 'node:http'
import { createInterface } from 'node:readline'

const EVERY_MS = 10
const urls = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 16 })
let times: number[] = []
let failed = 0
let turn = 0

const probing = setInterval(() => {
  const begun = performance.now()
  const request = get(urls[turn++ % urls.length] ?? '', { agent }, response => {
    if (response.statusCode !== 200) failed++
    response.resume().once('end', () => times.push(performance.now() - begun))
  })
  request.once('error', () => failed++)
}, EVERY_MS)

for await (const _line of createInterface({ input: process.stdin })) {
  const sorted = times.sort((a, b) => a - b)
  const answer = { probes: sorted.length, median: sorted[sorted.length >> 1] ?? 0, worst: sorted.at(-1) ?? 0, failed }
  times = []
  failed = 0
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
clearInterval(probing)
agent.destroy()
