// Writes the table of settings in docs/configuration.md from the schema: node scripts/config-table.js (after a build).
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configTable } from '../build/src/config-table.js'

const file = join(dirname(import.meta.dirname), 'docs/configuration.md')
writeFileSync(
  file,
  readFileSync(file, 'utf8').replace(
    /(<!-- config -->\n)[\s\S]*(<!-- \/config -->)/,
    (_all, begin, end) => begin + configTable() + end
  )
)
