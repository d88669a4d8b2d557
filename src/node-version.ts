import manifest from '../package.json' with { type: 'json' }
import type { Log } from './log/log.ts'

/** The versions of Node that are supported: `engines` of package.json when this was built, such as `>=20.19`. */
export const SUPPORTED_NODE = manifest.engines.node

/**
 * Whether a version of Node is in a range.
 * @param version as `process.version` has it, such as `v22.11.0`
 * @param range `>=MAJOR.MINOR`, the only form that package.json uses
 * @throws {Error} on any other form of the range or the version
 */
export function isSupportedNode(version: string, range: string = SUPPORTED_NODE): boolean {
  const [major, minor] = numbersOf(/^v(\d+)\.(\d+)\./, version)
  const [leastMajor, leastMinor] = numbersOf(/^>=(\d+)\.(\d+)$/, range)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}

/** Logs one warning on a version of Node that is not supported. The start goes on: the version may work. */
export function warnOfUnsupportedNode(log: Log, version: string): void {
  if (isSupportedNode(version)) return
  log.warn({ node_version: version, supported: SUPPORTED_NODE }, 'unsupported Node version')
}

function numbersOf(pattern: RegExp, text: string): [major: number, minor: number] {
  const [, major, minor] = pattern.exec(text) ?? []
  if (major === undefined || minor === undefined) throw new Error(`${text} does not match ${pattern.source}`)
  return [Number(major), Number(minor)]
}
