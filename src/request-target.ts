/**
 * The decoded path of a request target, without query and fragment, as the router of the main port reads it. The target
 * is a path or an absolute address, as proxies send it; a target of another form (`*`) is returned as it is.
 * @returns undefined when the target is malformed
 */
export function requestPath(target: string): string | undefined {
  const path = target.startsWith('/') ? target : pathOfAddress(target)
  if (path === undefined) return undefined
  const end = path.search(/[?#]/)
  try {
    return decodeURI(end === -1 ? path : path.slice(0, end))
  } catch {
    return undefined
  }
}

function pathOfAddress(target: string): string | undefined {
  const [, authority, rest = ''] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target) ?? []
  if (authority === undefined) return target
  if (authority === '' || target.includes('#') || !URL.canParse(target)) return undefined
  return rest.startsWith('/') ? rest : `/${rest}`
}
