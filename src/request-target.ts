/**
 * The path and query of a request target. The target may be an absolute address, as clients send it to a proxy; one of
 * another form (`*`) is returned as it is.
 * @returns undefined when the address is malformed
 */
function originForm(target: string): string | undefined {
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

/**
 * The target for the router: its `originForm`, and below one of `scopes` a malformed path with its percent signs encoded.
 * The router answers malformed paths by itself; so it gets none in a scope whose hooks have to decide first.
 * @param scopes the decoded starts of the paths, such as `/api/system/`
 * @returns the target itself where it is malformed and in no scope
 */
export function routableTarget(target: string, scopes: readonly string[]): string {
  const path = originForm(target)
  if (path === undefined || requestPath(path) !== undefined) return path ?? target
  const end = path.search(/[?#]/)
  const [raw, rest] = end === -1 ? [path, ''] : [path.slice(0, end), path.slice(end)]
  // First what is no escape, then escapes that are not UTF-8.
  const encoded = raw.replace(/%(?![0-9a-f]{2})/gi, '%25')
  const repaired = requestPath(encoded) === undefined ? encoded.replace(/%(?=[89a-f][0-9a-f])/gi, '%25') : encoded
  const isInScope = scopes.some(scope => requestPath(repaired)?.startsWith(scope))
  return isInScope ? repaired + rest : path
}
