/** A request, parsed from a command line of HTTPie. */
export interface HttpieRequest {
  method: string
  path: string
  /** `name==value` */
  query: Record<string, string>
  /** `name=text` and `name:=json`; undefined without any. */
  body: Record<string, unknown> | undefined
}

/**
 * Reads a line such as `http --session=ops POST :5001/path name==value name=text name:=json`.
 * @throws {Error} on a line of another form
 */
export function parseHttpie(line: string): HttpieRequest {
  const [command, ...rest] = (line.trim().match(/(?:'[^']*'|[^\s'])+/g) ?? []).map(word => word.replaceAll("'", ''))
  const words = rest.filter(word => !word.startsWith('--'))
  const given = /^[A-Z]+$/.test(words[0] ?? '') ? words.shift() : undefined
  const [, path] = /^:\d+(\/\S*)$/.exec(words.shift() ?? '') ?? []
  if (command !== 'http' || path === undefined) throw new Error(`not a request: ${line}`)
  const query: Record<string, string> = {}
  let body: Record<string, unknown> | undefined
  for (const word of words) {
    const [, name, operator, value = ''] = /^([a-z_]+)(==|:=|=)(.*)$/.exec(word) ?? []
    if (name === undefined) throw new Error(`not an item: ${word}`)
    if (operator === '==') query[name] = value
    else body = { ...body, [name]: operator === ':=' ? JSON.parse(value) : value }
  }
  return { method: given ?? (body === undefined ? 'GET' : 'POST'), path, query, body }
}
