import { documents } from './documents.ts'

/** The command lines of one code block, or one command in a sentence. */
export interface CommandBlock {
  file: string
  /** The lines without their prompt. A continued line is one line. */
  lines: string[]
}

const FENCE = /^( *)```(\w*)\n([\s\S]*?)^ *```$/gm
/**
 * The beginnings of command lines in a sentence. Other code in a sentence is the name of a program, file or setting.
 */
const SENTENCE_COMMAND = /^(npm (run|start|ci|test)|node|http|curl|docker|kubectl|systemctl|promtool|psql) ?\S*/

/** Every command line of the README, of SECURITY.md and of docs/, in their order. */
export function commandBlocks(): CommandBlock[] {
  return documents()
    .filter(({ file }) => file === 'README.md' || file === 'SECURITY.md' || file.startsWith('docs/'))
    .flatMap(({ file, text }) => {
      const blocks = [...text.matchAll(FENCE)].map(([, , language = '', block = '']) => linesOf(language, block))
      const spans = [...text.replaceAll(FENCE, '').matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)
      const commands = [...new Set(spans.filter(span => SENTENCE_COMMAND.test(span) && span.includes(' ')))]
      return [...blocks, ...commands.map(command => [command])].map(lines => ({ file, lines }))
    })
    .filter(({ lines }) => lines.length > 0)
}

/** All lines of a shell block; in other blocks the lines with a prompt. */
function linesOf(language: string, block: string): string[] {
  const lines = block
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map(line => line.trim())
    .filter(Boolean)
  if (language === 'sh') return lines
  return lines.filter(line => line.startsWith('$ ')).map(line => line.slice(2))
}
