// Writes the configuration table of README.md from the one schema: node scripts/config-table.js (after a build).
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configTable } from '../build/src/config-table.js'

const readme = join(dirname(import.meta.dirname), 'README.md')
writeFileSync(
  readme,
  readFileSync(readme, 'utf8').replace(
    /(<!-- config -->\n)[\s\S]*(<!-- \/config -->)/,
    (_all, begin, end) => begin + configTable() + end
  )
)
