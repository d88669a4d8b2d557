import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'

/** Largest file that is read, in bytes: four times the bundle of a Linux distribution. */
const MAX_BYTES = 1024 * 1024

const BEGIN = '-----BEGIN CERTIFICATE-----'
const END = '-----END CERTIFICATE-----'

/**
 * Reads the root certificates of `sslrootcert`. Blocks until the file is read; has no other effect.
 * @param path of a regular file of at most 1 MiB; relative paths start at the working directory
 * @returns the text of the file; undefined when it cannot be read, contains no PEM certificate, or contains one that
 * cannot be parsed
 */
export function readRootCertificates(path: string): string | undefined {
  try {
    const file = statSync(path)
    // Reading a pipe or a device might never end.
    if (!file.isFile() || file.size > MAX_BYTES) return undefined
    const text = readFileSync(path, 'utf8')
    return allParse(text) ? text : undefined
  } catch {
    // The errors of fs and crypto quote the path or the content, which may be a misplaced secret.
    return undefined
  }
}

/**
 * OpenSSL stops without an error at the first certificate that it cannot parse, so one such certificate would remove
 * all that follow it.
 */
function allParse(text: string): boolean {
  let begin = text.indexOf(BEGIN)
  if (begin === -1) return false
  while (begin !== -1) {
    const end = text.indexOf(END, begin)
    if (end === -1) return false
    new X509Certificate(text.slice(begin, end + END.length))
    begin = text.indexOf(BEGIN, end)
  }
  return true
}
