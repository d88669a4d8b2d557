import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from './project.ts'

/** A Markdown file of the project. */
export interface Document {
  /** Its path from the root of the project. */
  file: string
  text: string
}

/** All Markdown files at the root of the project and below docs/. */
export function documents(): Document[] {
  const files = [
    ...readdirSync(projectRoot).filter(name => name.endsWith('.md')),
    ...readdirSync(join(projectRoot, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.md'))
      .map(name => join('docs', name))
  ]
  return files.sort().map(file => ({ file, text: readFileSync(join(projectRoot, file), 'utf8') }))
}

/** The text of a Markdown file without its code blocks. */
export function withoutCodeBlocks(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, '')
}
