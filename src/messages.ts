/** The languages of the sentences. Korean is the default. */
export type Language = 'ko' | 'en'

const sentences = {
  BAD_REQUEST: { ko: '요청을 이해할 수 없습니다', en: 'The request cannot be parsed' },
  MALFORMED_JSON: { ko: '본문이 올바른 JSON이 아닙니다', en: 'The body is not valid JSON' },
  VALIDATION_FAILED: { ko: '요청 값이 올바르지 않습니다', en: 'The request is not valid' },
  UNAUTHENTICATED: { ko: '로그인이 필요합니다', en: 'Sign in first' },
  INVALID_CREDENTIALS: {
    ko: '사용자 이름 또는 비밀번호가 올바르지 않습니다',
    en: 'The user name or the password is wrong'
  },
  FORBIDDEN: { ko: '관리자 권한이 필요합니다', en: 'Only an admin may do this' },
  PASSWORD_CHANGE_REQUIRED: { ko: '먼저 비밀번호를 변경해야 합니다', en: 'Change your password first' },
  FOREIGN_ORIGIN: { ko: '다른 사이트에서 온 요청은 받지 않습니다', en: 'Cross-site requests are refused' },
  PASSWORD_UNCHANGED: {
    ko: '새 비밀번호가 현재 비밀번호와 같습니다',
    en: 'The new password is the same as the current one'
  },
  PASSWORD_TOO_COMMON: {
    ko: '너무 흔하거나 추측하기 쉬운 비밀번호입니다. 다른 비밀번호를 선택하세요',
    en: 'The new password is too common or too easy to guess: choose another one'
  },
  PASSWORD_CONTAINS_NAME: {
    ko: '새 비밀번호는 사용자 이름을 제외하고도 8자 이상이어야 합니다',
    en: 'The new password must have 8 characters besides the user name'
  },
  TOO_MANY_ATTEMPTS: { ko: '시도가 너무 많습니다. 잠시 후 다시 시도하세요', en: 'Too many attempts, try again later' },
  NOT_FOUND: { ko: '요청한 경로를 찾을 수 없습니다', en: 'There is no such path' },
  METHOD_NOT_ALLOWED: { ko: '허용되지 않는 메서드입니다', en: 'The method is not allowed for this path' },
  REQUEST_TIMEOUT: { ko: '요청이 제시간에 도착하지 않았습니다', en: 'The request did not arrive in time' },
  PAYLOAD_TOO_LARGE: { ko: '본문이 너무 큽니다', en: 'The body is too large' },
  URI_TOO_LONG: { ko: '주소가 너무 깁니다', en: 'The address is too long' },
  UNSUPPORTED_MEDIA_TYPE: { ko: 'application/json 본문만 받습니다', en: 'The body must be application/json' },
  HEADERS_TOO_LARGE: { ko: '헤더가 너무 큽니다', en: 'The headers are too large' },
  INTERNAL_ERROR: { ko: '내부 오류가 발생했습니다', en: 'An internal error occurred' },
  TELEGRAM_UNAUTHORIZED: { ko: '텔레그램 봇 토큰이 올바르지 않습니다', en: 'Telegram rejects the bot token' },
  TELEGRAM_CHAT_NOT_FOUND: { ko: '텔레그램 채팅방을 찾을 수 없습니다', en: 'Telegram cannot find the chat' },
  TELEGRAM_BLOCKED: {
    ko: '봇이 이 채팅방에 메시지를 보낼 수 없습니다',
    en: 'The bot cannot send messages to the chat'
  },
  TELEGRAM_RATE_LIMITED: {
    ko: '텔레그램 요청이 너무 많습니다. 잠시 후 다시 시도하세요',
    en: 'Too many requests for Telegram, try again later'
  },
  TELEGRAM_UNREACHABLE: { ko: '텔레그램에 연결할 수 없습니다', en: 'Telegram cannot be reached' },
  TELEGRAM_NOT_CONFIGURED: { ko: '텔레그램이 설정되지 않았습니다', en: 'Telegram is not configured' },
  'telegram.connected': { ko: '텔레그램 연결 성공', en: 'Telegram is connected' },
  OVERLOADED: {
    ko: '서비스가 과부하 상태입니다. 잠시 후 다시 시도하세요',
    en: 'The service is overloaded, try again shortly'
  },
  DRAINING: { ko: '서비스가 종료 중입니다', en: 'The service is shutting down' },
  SETTINGS_DIFFER: {
    ko: '이 인스턴스의 설정이 다른 인스턴스와 달라 작업을 실행하지 않습니다',
    en: 'The settings of this replica differ from those of the others: it runs no jobs'
  },
  DATABASE_UNAVAILABLE: { ko: '데이터베이스를 사용할 수 없습니다', en: 'The database cannot be used' },
  JOB_NOT_FOUND: { ko: '작업을 찾을 수 없습니다', en: 'There is no such job' },
  RUN_NOT_FOUND: { ko: '작업 실행 기록을 찾을 수 없습니다', en: 'There is no such run' },
  JOB_ALREADY_RUNNING: { ko: '작업이 이미 실행 중입니다', en: 'The job is running already' },
  JOB_FAILED: { ko: '작업이 실패했습니다', en: 'The job failed' },
  'scheduler.start': { ko: '스케줄러가 시작되었습니다', en: 'The scheduler was started' },
  'scheduler.stop': { ko: '스케줄러가 중지되었습니다', en: 'The scheduler was stopped' },
  'scheduler.restart': { ko: '스케줄러가 재시작되었습니다', en: 'The scheduler was restarted' },
  'quiet.started': { ko: '알림이 중지되었습니다', en: 'Notifications are suppressed' },
  'quiet.ended': { ko: '알림이 재개되었습니다', en: 'Notifications are sent again' },
  'job.paused': { ko: '작업이 일시 중지되었습니다', en: 'The job was paused' },
  'job.resumed': { ko: '작업이 재개되었습니다', en: 'The job was resumed' },
  'job.succeeded': { ko: '작업 완료', en: 'The job has succeeded' },
  'job.started': { ko: '작업이 시작되었습니다', en: 'The job was started' },
  'job.partial': { ko: '작업이 일부만 완료되었습니다', en: 'The job has ended, and not everything was done' },
  'job.recent': { ko: '최근에 완료된 작업이므로 건너뛰었습니다', en: 'Skipped: the job succeeded recently' },
  'job_name.update_open_orders': { ko: '미체결 주문 상태 갱신', en: 'Update Open Orders Status' },
  'job_name.calculate_unrealized_pnl': { ko: '미실현 손익 계산', en: 'Calculate Unrealized PnL' },
  'job_name.send_daily_summary': { ko: '일일 요약 전송', en: 'Send Daily Summary' },
  'job_name.calculate_daily_performance': { ko: '일일 전략 성과 계산', en: 'Calculate Daily Strategy Performance' },
  'job_name.sync_account_balances': { ko: '계정 잔고 동기화', en: 'Sync Account Balances' },
  'job_name.sync_exchange_ledger': { ko: '거래소 원장 동기화', en: 'Sync Exchange Ledger' },
  'job_name.reconcile_books': { ko: '장부 대사', en: 'Reconcile Books' },
  'job_name.update_price_cache': { ko: '가격 캐시 갱신', en: 'Update Price Cache' },
  'job_name.housekeeping': { ko: '데이터 정리', en: 'Housekeeping' },
  'cache.stats': {
    ko: 'Market 캐시를 통한 API 호출 최적화 활성화됨',
    en: 'The market cache reduces calls to the exchanges'
  },
  'cache.cleared.price': {
    ko: '가격 캐시 정리 완료 - {count}개 항목 삭제',
    en: 'Price cache cleared: {count} entries removed'
  },
  'cache.cleared.exchange': {
    ko: '거래소 클라이언트 캐시 정리 완료 - {count}개 항목 삭제',
    en: 'Exchange client cache cleared: {count} entries removed'
  },
  'cache.cleared.all': {
    ko: '전체 캐시 정리 완료 - {count}개 항목 삭제',
    en: 'All caches cleared: {count} entries removed'
  },
  'cache.dry_run': {
    ko: '캐시 정리 대상 {count}개 항목 - 삭제하지 않음',
    en: '{count} entries would be removed from the caches'
  },
  'page.username': { ko: '사용자 이름', en: 'User name' },
  'page.password': { ko: '비밀번호', en: 'Password' },
  'page.sign_in': { ko: '로그인', en: 'Sign in' },
  'page.current_password': { ko: '현재 비밀번호', en: 'Current password' },
  'page.new_password': { ko: '새 비밀번호', en: 'New password' },
  'page.new_password_again': { ko: '새 비밀번호 확인', en: 'New password again' },
  'page.change_password': { ko: '비밀번호 변경', en: 'Change password' },
  'page.passwords_differ': { ko: '새 비밀번호가 서로 다릅니다', en: 'The new passwords differ' },
  'page.no_answer': {
    ko: '서비스가 응답하지 않습니다. 잠시 후 다시 시도하세요',
    en: 'The service does not answer, try again shortly'
  },
  'page.docs': { ko: 'API 문서', en: 'API document' },
  'rule.required': { ko: '필수 항목입니다', en: 'is required' },
  'rule.additionalProperties': { ko: '알 수 없는 항목입니다', en: 'is not a known field' },
  'rule.type': { ko: '다음 형식이어야 합니다: {type}', en: 'must be of type {type}' },
  'rule.enum': { ko: '다음 중 하나여야 합니다: {allowedValues}', en: 'must be one of: {allowedValues}' },
  'rule.const': { ko: '다음 값이어야 합니다: {allowedValue}', en: 'must be {allowedValue}' },
  'rule.minLength': { ko: '{limit}자 이상이어야 합니다', en: 'must have at least {limit} characters' },
  'rule.maxLength': { ko: '{limit}자 이하여야 합니다', en: 'must have at most {limit} characters' },
  'rule.minimum': { ko: '{limit} 이상이어야 합니다', en: 'must be at least {limit}' },
  'rule.maximum': { ko: '{limit} 이하여야 합니다', en: 'must be at most {limit}' },
  'rule.pattern': { ko: '형식이 올바르지 않습니다', en: 'does not have the required format' },
  'rule.format': { ko: '{format} 형식이어야 합니다', en: 'must be a {format}' },
  'rule.uniqueKeys': { ko: '같은 이름의 항목이 두 번 있습니다', en: 'has a field of the same name twice' },
  'rule.other': { ko: '허용되지 않는 값입니다', en: 'is not allowed' }
} satisfies Record<string, Record<Language, string>>

/** The key of a sentence. */
export type MessageKey = keyof typeof sentences

/** All keys, for the tests. */
export const messageKeys = Object.keys(sentences) as MessageKey[]

/** The sentence of a key. Placeholders like `{limit}` are replaced by `values`; one without a value by nothing. */
export function message(key: MessageKey, language: Language, values: Record<string, unknown> = {}): string {
  return sentences[key][language].replace(/\{(\w+)\}/g, (_placeholder, name: string) => {
    const value = values[name] ?? ''
    return Array.isArray(value) ? value.join(', ') : String(value)
  })
}

/** Whether a string is the key of a sentence. */
export function isMessageKey(key: string): key is MessageKey {
  return Object.hasOwn(sentences, key)
}

/** The name of a job in a language; `jobName` for a job that this version does not have. */
export function jobNameIn({ jobId, jobName }: { jobId: string; jobName: string }, language: Language): string {
  const key = `job_name.${jobId}`
  return isMessageKey(key) ? message(key, language) : jobName
}

/**
 * The language that an `Accept-Language` header prefers (RFC 9110 §12.5.4): the one of Korean and English with the higher
 * weight; Korean by default.
 */
export function languageOf(acceptLanguage: string | undefined): Language {
  const weights = { ko: 0, en: 0 }
  for (const range of (acceptLanguage ?? '').slice(0, 256).toLowerCase().split(',')) {
    const [tag = '', ...parameters] = range.trim().split(';')
    const language = tag.split('-')[0]
    if (language !== 'ko' && language !== 'en') continue
    const weight = parameters.map(parameter => /^\s*q=([\d.]+)\s*$/.exec(parameter)?.[1]).find(q => q !== undefined)
    weights[language] = Math.max(weights[language], weight === undefined ? 1 : Number(weight) || 0)
  }
  return weights.en > weights.ko ? 'en' : 'ko'
}
