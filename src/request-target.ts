/**
 * The path and query of a request target. The target may be an absolute address, as clients send it to a proxy; one of
 * another form (`*`) is returned as it is.
 * @returns undefined when the address is malformed
 */
export function originForm(target: string): string | undefined {
  if (target.startsWith('/')) return target
  const [, authority, rest = ''] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target) ?? []
  if (authority === undefined) return target
  if (authority === '' || target.includes('#') || !URL.canParse(target)) return undefined
  return rest.startsWith('/') ? rest : `/${rest}`
}

/**
 * The decoded path of a request target, without query and fragment, as the router of the main port reads it.
 * @returns undefined when the target is malformed
 */
export function requestPath(target: string): string | undefined {
  const path = originForm(target)
  if (path === undefined) return undefined
  const end = path.search(/[?#]/)
  try {
    return decodeURI(end === -1 ? path : path.slice(0, end))
  } catch {
    return undefined
  }
}
