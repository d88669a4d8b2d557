import { namedWeightOf } from '../accept.ts'
import { PASSWORD_MAX, PASSWORD_MIN } from '../auth/passwords.ts'
import type { ErrorCode } from '../errors.ts'
import { type Language, type MessageKey, message } from '../messages.ts'
import { FORM_SCRIPT_PATH } from './form-script.ts'

/** The headers of every page: it loads only the script of the forms, and only the script sends them. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none';script-src 'self';style-src 'unsafe-inline';connect-src 'self';base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'x-content-type-options': 'nosniff'
}

/**
 * Whether an error is answered with a page: a browser asks for HTML, and the target is not one of the API or a probe,
 * whose answers are JSON for every client.
 * @param path of the request, with its query
 */
export function isAnsweredWithPage(path: string, accept = ''): boolean {
  const html = namedWeightOf('text/html', accept)
  if (html === 0 || html < namedWeightOf('application/json', accept)) return false
  return !/^\/(api|health)([/?#]|$)/.test(path)
}

/** The page of an error: its sentence, and the form that resolves it, if there is one. */
export function errorPage(code: ErrorCode, language: Language): string {
  const sentence = message(code, language)
  return `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<title>${sentence} · trading-health</title>
<meta name="viewport" content="width=device-width">
<style>body { font: 1rem sans-serif; max-width: 20rem; margin: 4rem auto; padding: 0 1rem } input { width: 100%; box-sizing: border-box }</style>
<h1>trading-health</h1>
<p>${sentence}</p>
${remedyOf(code, language)}
</html>
`
}

function remedyOf(code: ErrorCode, language: Language): string {
  switch (code) {
    case 'UNAUTHENTICATED':
    case 'FORBIDDEN':
      return form(language, '/api/auth/login', 'page.sign_in', [
        field(language, 'username', 'type="text" autocomplete="username" maxlength="64"'),
        field(language, 'password', `type="password" autocomplete="current-password" maxlength="${PASSWORD_MAX}"`)
      ])
    case 'PASSWORD_CHANGE_REQUIRED':
      return form(language, '/api/auth/password', 'page.change_password', [
        field(
          language,
          'current_password',
          `type="password" autocomplete="current-password" maxlength="${PASSWORD_MAX}"`
        ),
        field(language, 'new_password', newPassword),
        field(language, 'new_password_again', newPassword)
      ])
    default:
      return `<p><a href="/docs">${message('page.docs', language)}</a></p>`
  }
}

const newPassword = `type="password" autocomplete="new-password" minlength="${PASSWORD_MIN}" maxlength="${PASSWORD_MAX}"`

type Field = 'username' | 'password' | 'current_password' | 'new_password' | 'new_password_again'

function field(language: Language, name: Field, attributes: string): string {
  return `<p><label>${message(`page.${name}`, language)}<br><input name="${name}" ${attributes} required></label></p>`
}

/**
 * A form whose fields the script posts to `action` as JSON. The script enables the button. The method keeps passwords out
 * of every address.
 */
function form(language: Language, action: string, button: MessageKey, fields: readonly string[]): string {
  return `<form method="post" action="${action}" data-mismatch="${message('page.passwords_differ', language)}" data-failed="${message('page.no_answer', language)}">
${fields.join('\n')}
<button disabled>${message(button, language)}</button>
<p role="alert"></p>
</form>
<script src="${FORM_SCRIPT_PATH}"></script>`
}
