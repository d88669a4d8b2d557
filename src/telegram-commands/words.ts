// @FEAT:health-monitoring @COMP:service @TYPE:helper
import type { Language } from '../messages.ts'
import type { CommandName } from './command-line.ts'

type Sentence = Record<Language, string>

/** What each command does, in the menu of the chat and in `/help`. Its arguments come first. */
export const commandTexts: Readonly<Record<CommandName, Sentence & { usage?: Sentence }>> = {
  status: { ko: '전체 상태', en: 'The state of the service' },
  jobs: { ko: '작업과 마지막 결과', en: 'The jobs and their last results' },
  run: { usage: { ko: '작업', en: 'JOB' }, ko: '작업 실행', en: 'Run a job now' },
  pause: { usage: { ko: '작업', en: 'JOB' }, ko: '작업 일시 중지', en: 'Pause a job' },
  resume: { usage: { ko: '작업', en: 'JOB' }, ko: '작업 재개', en: 'Resume a job' },
  stop: { usage: { ko: '[30m] [사유]', en: '[30m] [reason]' }, ko: '스케줄러 중지', en: 'Stop the scheduler' },
  start: { ko: '스케줄러 시작', en: 'Start the scheduler' },
  daily: {
    usage: { ko: '[일수]', en: '[days]' },
    ko: '오늘 요약 또는 최근 며칠의 순손익',
    en: 'The summary of today, or the net results of some days'
  },
  positions: { ko: '보유 포지션', en: 'The open positions' },
  books: { ko: '장부와 거래소의 차이', en: 'Differences between the books and the exchanges' },
  health: { ko: '점검 항목과 인스턴스', en: 'The checks and the replicas' },
  help: { ko: '명령 목록', en: 'The commands' }
}

const sentences = {
  commands: { ko: '명령', en: 'Commands' },
  unknownCommand: { ko: '알 수 없는 명령입니다.', en: 'There is no such command.' },
  jobMissing: { ko: '작업의 이름이 필요합니다. 작업:', en: 'The name of a job is needed. Jobs:' },
  jobUnknown: { ko: '알 수 없는 작업입니다. 작업:', en: 'There is no such job. Jobs:' },
  badDuration: {
    ko: '시간은 1분에서 7일까지입니다: 30m, 2h, 1h30m, 1d',
    en: 'The duration is from 1 minute to 7 days: 30m, 2h, 1h30m, 1d'
  },
  badDays: { ko: '일수는 1에서 31까지입니다.', en: 'The number of days is from 1 to 31.' },
  tooOld: {
    ko: '5분보다 늦게 도착한 명령이라 실행하지 않았습니다. 다시 보내 주세요.',
    en: 'The command arrived more than 5 minutes late and was not executed. Send it again.'
  },
  slowDown: {
    ko: '명령이 너무 많습니다. 1분 동안 응답하지 않을 수 있습니다.',
    en: 'Too many commands. For a minute some get no answer.'
  },
  publicGroup: {
    ko: '공개 그룹에서는 아무것도 변경할 수 없습니다.',
    en: 'Nothing can be changed from a public group.'
  },
  failed: { ko: '내부 오류로 응답하지 못했습니다.', en: 'The answer failed because of an internal error.' },
  askRun: { ko: '작업을 지금 실행할까요?', en: 'Run the job now?' },
  askPause: { ko: '작업을 일시 중지할까요?', en: 'Pause the job?' },
  askResume: { ko: '작업을 재개할까요?', en: 'Resume the job?' },
  askStop: { ko: '스케줄러를 중지할까요?', en: 'Stop the scheduler?' },
  askStart: { ko: '스케줄러를 시작할까요?', en: 'Start the scheduler?' },
  duration: { ko: '시간', en: 'Duration' },
  noEnd: { ko: '직접 시작할 때까지', en: 'until it is started' },
  minutes: { ko: '분', en: 'min' },
  reason: { ko: '사유', en: 'Reason' },
  confirm: { ko: '실행', en: 'Confirm' },
  cancel: { ko: '취소', en: 'Cancel' },
  lapsesSoon: { ko: '60초 안에 눌러 주세요.', en: 'Press within 60 seconds.' },
  canceled: { ko: '취소되었습니다', en: 'Canceled' },
  lapsed: { ko: '시간이 지나 실행하지 않았습니다', en: 'Lapsed: nothing was changed' },
  notYours: { ko: '명령을 보낸 사람만 누를 수 있습니다', en: 'Only the sender of the command may press this' },
  notOpen: { ko: '더 이상 사용할 수 없는 버튼입니다', en: 'This button no longer has an effect' },
  done: { ko: '완료', en: 'Done' },
  running: { ko: '실행 중', en: 'running' },
  stopped: { ko: '중지됨', en: 'stopped' },
  scheduler: { ko: '스케줄러', en: 'Scheduler' },
  until: { ko: '재개 예정', en: 'Until' },
  by: { ko: '조작자', en: 'By' },
  jobs: { ko: '작업', en: 'Jobs' },
  overdue: { ko: '지연', en: 'overdue' },
  paused: { ko: '일시 중지', en: 'paused' },
  next: { ko: '다음', en: 'next' },
  replicas: { ko: '인스턴스', en: 'Replicas' },
  checks: { ko: '점검', en: 'Checks' },
  allOk: { ko: '모두 정상', en: 'all ok' },
  status: { ko: '상태', en: 'Status' },
  positions: { ko: '포지션', en: 'Positions' },
  noPositions: { ko: '보유 포지션이 없습니다.', en: 'There are no open positions.' },
  others: { ko: '그 외', en: 'Others' },
  books: { ko: '장부', en: 'Books' },
  booksAgree: { ko: '장부와 거래소가 일치합니다.', en: 'The books agree with the exchanges.' },
  unexplained: { ko: '설명되지 않은 차이', en: 'Unexplained differences' },
  newDifferences: { ko: '확인 중인 차이', en: 'Differences that are checked again' },
  net: { ko: '순손익', en: 'Net' },
  noDays: { ko: '거래도 변동도 없습니다.', en: 'No trades and no changes.' },
  noSummaries: { ko: '계정이 없습니다.', en: 'There are no accounts.' },
  testnet: { ko: '테스트넷', en: 'testnet' },
  outcome_succeeded: { ko: '성공', en: 'succeeded' },
  outcome_partial: { ko: '일부 완료', en: 'partial' },
  outcome_failed: { ko: '실패', en: 'failed' },
  outcome_abandoned: { ko: '비정상 중단', en: 'abandoned' },
  outcome_lost: { ko: '비정상 중단', en: 'abandoned' }
} satisfies Record<string, Sentence>

/** The key of a sentence of the commands. */
export type WordKey = keyof typeof sentences

/** A sentence of the commands. */
export function say(key: WordKey, language: Language): string {
  return sentences[key][language]
}

/** The outcome of a run, as people read it. */
export function outcomeText(outcome: string, language: Language): string {
  const key = `outcome_${outcome}`
  return isWord(key) ? say(key, language) : outcome
}

function isWord(key: string): key is WordKey {
  return Object.hasOwn(sentences, key)
}
