// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { CheckDetails } from '../domain/check-details.ts'
import { jobNameIn, type Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import type { Replica } from '../replicas/replicas.ts'
import type { JobStatus, SchedulerStatus } from '../scheduler/status.ts'
import { shortTime } from './answer-text.ts'
import { COMMAND_NAMES, type CommandName, USER_COMMANDS } from './command-line.ts'
import { commandTexts, outcomeText, say } from './words.ts'

export interface ServiceAnswerOptions {
  language: Language
  /** IANA name. */
  timeZone: string
  status: () => Promise<SchedulerStatus>
  checks: () => Promise<readonly CheckDetails[]>
  replicas: () => Promise<readonly Replica[]>
}

/** The commands that a chat may use. */
export function helpText(language: Language, isOperator: boolean): string {
  const names: readonly CommandName[] = isOperator ? COMMAND_NAMES : USER_COMMANDS
  const lines = names.map(name => {
    const { usage, ...text } = commandTexts[name]
    return `/${name}${usage ? ` ${escapeHtml(usage[language])}` : ''}: ${escapeHtml(text[language])}`
  })
  return [`<b>${say('commands', language)}</b>`, ...lines].join('\n')
}

/** The ids of the jobs, for the answer to a command without a known one. */
export function jobList(ids: readonly string[]): string {
  return ids.map(id => `• <code>${escapeHtml(id)}</code>`).join('\n')
}

/** The service on one screen: the scheduler, jobs that need attention, replicas, and checks that are not ok. */
export async function statusAnswer(options: ServiceAnswerOptions): Promise<string> {
  const { language, timeZone } = options
  const [status, checks, replicas] = await Promise.all([options.status(), options.checks(), options.replicas()])
  const overdue = status.jobs.filter(job => job.overdue)
  const paused = status.jobs.filter(job => job.paused)
  const running = status.jobs.filter(job => job.running)
  const failing = checks.filter(check => check.status !== 'ok')
  const isWell = failing.length === 0 && overdue.length === 0 && status.running
  return [
    `${isWell ? '🟢' : '🔴'} <b>${say('status', language)}</b> ${shortTime(new Date(), timeZone)}`,
    ...schedulerLines(status, options),
    `${say('jobs', language)}: ${status.jobs.length} (${say('running', language)} ${running.length}, ${say('overdue', language)} ${overdue.length}, ${say('paused', language)} ${paused.length})`,
    ...[...overdue, ...paused].map(({ job }) => `• ${jobName(job, language)}`),
    `${say('replicas', language)}: ${replicas.length}`,
    ...checkLines(checks, language)
  ].join('\n')
}

function schedulerLines({ running, stopped }: SchedulerStatus, { language, timeZone }: ServiceAnswerOptions): string[] {
  if (running || !stopped) return [`${say('scheduler', language)}: ${say('running', language)}`]
  const { by, reason, resumesAt } = stopped
  return [
    `${say('scheduler', language)}: <b>${say('stopped', language)}</b>`,
    ...(by === null ? [] : [`${say('by', language)}: ${quoteText(by)}`]),
    ...(reason === null ? [] : [`${say('reason', language)}: ${quoteText(reason, 200)}`]),
    `${say('until', language)}: ${resumesAt ? shortTime(resumesAt, timeZone) : say('noEnd', language)}`
  ]
}

function checkLines(checks: readonly CheckDetails[], language: Language): string[] {
  const failing = checks.filter(({ status }) => status !== 'ok')
  if (failing.length === 0) return [`${say('checks', language)}: ${say('allOk', language)}`]
  return [
    `${say('checks', language)}:`,
    ...failing.map(({ name, code }) => `• ${escapeHtml(name)}: <code>${escapeHtml(code ?? '?')}</code>`)
  ]
}

/** Each job with its last result and next time. */
export async function jobsAnswer(options: ServiceAnswerOptions): Promise<string> {
  const { language } = options
  const { jobs } = await options.status()
  return [`⚙️ <b>${say('jobs', language)}</b>`, ...jobs.map(job => jobText(job, options))].join('\n\n')
}

function jobText(
  { job, running, lastRun, paused, overdue, nextRunTime }: JobStatus,
  { language, timeZone }: ServiceAnswerOptions
): string {
  const last = lastRun ? `${outcomeText(lastRun.outcome, language)} ${shortTime(lastRun.startedAt, timeZone)}` : '-'
  const states = [
    ...(running ? [say('running', language)] : []),
    ...(paused ? [say('paused', language)] : []),
    ...(overdue ? [say('overdue', language)] : []),
    ...(nextRunTime ? [`${say('next', language)} ${shortTime(nextRunTime, timeZone)}`] : [])
  ]
  return [`<b>${jobName(job, language)}</b>`, `<code>${escapeHtml(job.id)}</code>`, [last, ...states].join(', ')].join(
    '\n'
  )
}

/** The name of a job in the language of the answer, in HTML. */
function jobName({ id, name }: { id: string; name: string }, language: Language): string {
  return quoteText(jobNameIn({ jobId: id, jobName: name }, language))
}

/** Every check of the replica that answers, and the replicas. */
export async function healthAnswer(options: ServiceAnswerOptions): Promise<string> {
  const { language } = options
  const [checks, replicas] = await Promise.all([options.checks(), options.replicas()])
  const failing = checks.filter(({ status }) => status !== 'ok')
  return [
    `${failing.length === 0 ? '🟢' : '🔴'} <b>${say('checks', language)}</b> ${checks.length - failing.length}/${checks.length}`,
    ...failing.map(({ name, code }) => `• ${escapeHtml(name)}: <code>${escapeHtml(code ?? '?')}</code>`),
    '',
    `<b>${say('replicas', language)}</b> ${replicas.length}`,
    ...replicas.map(
      ({ instance_id, version, draining }) =>
        `• ${quoteText(instance_id)} ${escapeHtml(version)}${draining ? ' ⏏' : ''}`
    )
  ].join('\n')
}
