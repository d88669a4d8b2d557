import { type Language, message } from '../messages.ts'

/** The page with which a browser signs in. It loads `signInScript` from `scriptPath`. */
export function signInPage(language: Language, scriptPath: string): string {
  const field = (name: 'username' | 'password', type: string, hint: string) =>
    `<p><label>${message(`page.${name}`, language)}<br><input name="${name}" type="${type}" autocomplete="${hint}" required></label></p>`
  return `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<title>trading-health</title>
<meta name="viewport" content="width=device-width">
<style>body { font: 1rem sans-serif; max-width: 20rem; margin: 4rem auto } input { width: 100% }</style>
<form>
${field('username', 'text', 'username')}
${field('password', 'password', 'current-password')}
<button>${message('page.sign_in', language)}</button>
<p role="alert"></p>
</form>
<script src="${scriptPath}"></script>
</html>
`
}

/** Signs in and loads the page again, or shows the error. */
export const signInScript = `document.forms[0].addEventListener('submit', async event => {
  event.preventDefault()
  const response = await fetch('/api/auth/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(Object.fromEntries(new FormData(event.target)))
  })
  if (response.ok) location.reload()
  else document.querySelector('[role=alert]').textContent = (await response.json()).error
})
`
