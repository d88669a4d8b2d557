/** The path of the script. */
export const FORM_SCRIPT_PATH = '/docs/form.js'

/**
 * The script of the forms: posts the fields as JSON and loads the page again, or shows the error. A session that has
 * ended meanwhile also loads the page again, which then has the form of the sign-in.
 */
export const formScript = `const form = document.forms[0]
const button = form.querySelector('button')
button.disabled = false
form.addEventListener('submit', async event => {
  event.preventDefault()
  const { new_password_again, ...fields } = Object.fromEntries(new FormData(form))
  const show = text => {
    form.querySelector('[role=alert]').textContent = text
  }
  if (new_password_again !== undefined && new_password_again !== fields.new_password) return show(form.dataset.mismatch)
  button.disabled = true
  try {
    const response = await fetch(form.action, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(fields)
    })
    const { code, error, details = [] } = await response.json()
    if (response.ok || code === 'UNAUTHENTICATED') location.reload()
    else show([error, ...details.map(({ message }) => message)].join(': '))
  } catch {
    show(form.dataset.failed)
  } finally {
    button.disabled = false
  }
})
`
