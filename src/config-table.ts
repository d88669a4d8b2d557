import type { TSchema } from '@sinclair/typebox'
import { configSchema } from './config.ts'

/** The settings as a Markdown table: name, default, bounds, meaning. It is the table of docs/configuration.md. */
export function configTable(): string {
  const rows = Object.entries<TSchema>(configSchema.properties).map(([name, schema]) => {
    const names = schema.secret ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``
    const fallback = schema.default === undefined ? '' : `\`${schema.default}\``
    return `| ${names} | ${fallback} | ${bounds(schema)} | ${schema.description} |\n`
  })
  return `| name | default | bounds | meaning |\n|---|---|---|---|\n${rows.join('')}`
}

function bounds({ enum: values, minimum, maximum, rule }: TSchema): string {
  if (values) return values.map((value: string) => `\`${value}\``).join(', ')
  if (minimum !== undefined) return `${minimum} to ${maximum}`
  return rule ? rule.replace(/^must be /, '') : ''
}
