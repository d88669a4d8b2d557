// The first visit of a user, with the real Chromium.
import t from 'tap'
import { startApp, untilStatus } from '../support/app.ts'
import { startChromium } from '../support/chromium.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { createUser } from '../support/session.ts'
import { missingTool } from '../support/tools.ts'

const skip = missingTool('chromium', 'chromium')

t.test('a browser signs in with the first password, changes it and shows the document', { skip }, async t => {
  const { url: DATABASE_URL } = await migratedDatabase(t)
  const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false' })
  await untilStatus(`${url}/health/startup`, 200)
  const first = await createUser(app, 'admin', { isAdmin: true })
  const user = await createUser(app, 'user')
  await app.db.run(sql => sql`update users set must_change_password = true where username = 'admin'`)
  const page = await startChromium(t)
  const alert = (text: string) => page.until(`document.querySelector('[role=alert]').textContent === '${text}'`)

  await page.setHeaders({ 'accept-language': 'en' })
  await page.open(`${url}/docs`)
  await page.submit({ username: 'admin', password: 'a wrong password' })
  await alert('The user name or the password is wrong')
  await page.submit({ username: 'admin', password: first })

  await page.until(`document.body.innerText.includes('Change your password first')`)
  const change = (current_password: string, new_password: string, new_password_again: string) =>
    page.submit({ current_password, new_password, new_password_again })
  await change(first, 'a new password', 'another password')
  await alert('The new passwords differ')
  await change('a wrong password', 'a new password', 'a new password')
  await alert('The user name or the password is wrong')
  await change(first, first, first)
  await alert('The new password is the same as the current one')
  await change(first, 'a new password', 'a new password')
  await page.until(`document.querySelector('.swagger-ui .opblock')`)
  const policy = page.errors.filter(text => /Content Security Policy/i.test(text))
  t.strictSame(policy, [], 'the content security policy blocks no part of the pages')

  await page.clearCookies()
  await page.setHeaders({ 'accept-language': 'ko' })
  await page.open(`${url}/docs`)
  await page.submit({ username: 'user', password: user })
  await page.until(`document.body.innerText.includes('관리자 권한이 필요합니다')`)
  await page.submit({ username: 'admin', password: 'a new password' })
  await page.until(`document.querySelector('.swagger-ui .opblock')`)
})
