// @FEAT:scheduler @COMP:service @TYPE:core
import { jobNameIn, type Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import type { Job } from '../scheduler/job.ts'
import { type Action, readStop } from './actions.ts'
import type { CommandName } from './command-line.ts'
import { jobList } from './service-answers.ts'
import { say, type WordKey } from './words.ts'

/** What a command that changes something asks for, or why it is refused. The texts are in Telegram's HTML. */
export type Request =
  | { isValid: true; action: Action; question: string; target: string | undefined }
  | { isValid: false; refusal: string }

/** The commands that change something. */
export type ChangingCommand = Action['kind']

/** Whether a command changes something: then it is confirmed. */
export function isChanging(name: CommandName): name is ChangingCommand {
  return name in questions
}

const questions: Readonly<Record<ChangingCommand, WordKey>> = {
  run: 'askRun',
  pause: 'askPause',
  resume: 'askResume',
  stop: 'askStop',
  start: 'askStart'
}

/** Reads the arguments of a command that changes something. A job is named by its id or its type. */
export function readRequest(
  name: ChangingCommand,
  rest: string,
  { jobs, language }: { jobs: readonly Job[]; language: Language }
): Request {
  const title = `<b>${say(questions[name], language)}</b>`
  switch (name) {
    case 'start':
      return { isValid: true, action: { kind: 'start' }, question: `▶️ ${title}`, target: undefined }
    case 'stop': {
      const action = readStop(rest)
      if (!action) return { isValid: false, refusal: say('badDuration', language) }
      return {
        isValid: true,
        action,
        question: [`⏹ ${title}`, ...stopLines(action, language)].join('\n'),
        target: undefined
      }
    }
    default: {
      const wanted = rest.toLowerCase()
      const job = jobs.find(({ id, type }) => id === wanted || type === wanted)
      if (!job) {
        const problem = say(rest === '' ? 'jobMissing' : 'jobUnknown', language)
        return { isValid: false, refusal: `${problem}\n${jobList(jobs.map(({ id }) => id))}` }
      }
      const jobName = quoteText(jobNameIn({ jobId: job.id, jobName: job.name }, language))
      const question = `⚙️ ${title}\n${jobName} (<code>${escapeHtml(job.id)}</code>)`
      return { isValid: true, action: { kind: name, jobId: job.id }, question, target: job.id }
    }
  }
}

function stopLines({ forMinutes, reason }: Extract<Action, { kind: 'stop' }>, language: Language): string[] {
  const duration = forMinutes === null ? say('noEnd', language) : `${forMinutes} ${say('minutes', language)}`
  return [
    `${say('duration', language)}: ${duration}`,
    ...(reason === null ? [] : [`${say('reason', language)}: ${quoteText(reason, 500)}`])
  ]
}
