// Two users at the page of examples/better-auth, in Chromium: node notes.mjs URL CHROMIUM [PNG].
// Prints what it saw, as JSON, and writes a picture of the page, the one in its README. Twice, it
// prints "rotate" and waits for a line, so that the keys can be replaced while the page is open.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const [url, executablePath, picture] = process.argv.slice(2)
const HTML = '<img src=x onerror="document.title=1"><script>document.title=2</script>'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const seen = { errors: [], refused: [], requests: new Set(), barriers: [] }

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
})
const context = await browser.newContext({ viewport: { width: 780, height: 900 }, colorScheme: 'light' })
const page = await context.newPage()
page.setDefaultTimeout(30_000)
// A violation of the content security policy is such an error. So is an answer that refuses, which
// is listed by itself.
page.on('console', (message) => {
  if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) seen.errors.push(message.text())
})
page.on('pageerror', (error) => seen.errors.push(String(error)))
page.on('response', (response) => {
  if (response.status() >= 400) seen.refused.push(`${response.status()} ${new URL(response.url()).pathname}`)
})
page.on('request', (request) => seen.requests.add(new URL(request.url()).origin))

// Found as assistive technology finds it: by role and accessible name.
const form = (name) => page.getByRole('form', { name })
const button = (name) => page.getByRole('button', { name, exact: true })
const message = (text) => page.locator('#message').getByText(text).waitFor()
const texts = (selector) => page.locator(selector).allTextContents()

async function signUp(name) {
  await form('Sign up').getByLabel('Name').fill(name)
  await form('Sign up').getByLabel('E-mail').fill(`${name.toLowerCase()}@page.example`)
  await form('Sign up').getByLabel('Password').fill(`the password of ${name}`)
  await button('Sign up').click()
  await message('You are signed up')
}

async function createTenant(name) {
  await page.getByLabel('New tenant').fill(name)
  await button('Create').click()
  await message(`You are in ${name}.`)
}

async function write(text, shared = false) {
  await page.getByLabel('New note').fill(text)
  await page.getByLabel('Share with the tenant').setChecked(shared)
  await button('Write').click()
  await message('is written')
}

async function rotate() {
  console.log('rotate')
  await once(process.stdin, 'data')
}

// Obstacles for people with disabilities (WCAG), as far as axe finds them, in both colour schemes.
async function findBarriers() {
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme })
    await page.evaluate(axe)
    const { violations } = await page.evaluate(() => globalThis.axe.run())
    seen.barriers.push(...violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${colorScheme}: ${id}: ${html}`)))
  }
}

const item = (text) => page.getByRole('listitem').filter({ hasText: text })

async function remove(text) {
  await item(text).getByRole('button', { name: 'Delete note' }).click()
  await message('is deleted')
}

// The rows of the page's table, each with the answer to one token.
async function compare(id = '') {
  await page.getByLabel('Note number').fill(id)
  await page.locator('#answers').evaluate((table) => { table.hidden = true })
  await button('Ask with each token').click()
  await page.getByRole('table').waitFor()
  const rows = await page.locator('#answers tbody tr').all()
  return Promise.all(rows.map(async (row) => [...await row.locator('th, td:nth-of-type(1)').allTextContents(),
    await row.locator('td p').allTextContents()]))
}

try {
  await page.goto(url)
  await form('Sign up').waitFor()
  await findBarriers()
  for (const name of ['Alice', 'Bob']) {
    await button(`Try as ${name}`).click()
    await message(`You are ${name}.`)
    seen[`tried${name}`] = await texts('#list p')
    seen.policy = await texts('#policy-name, #policy')
    await button('Sign out').click()
    await message('You are signed out.')
  }
  // Forgets their tokens.
  await page.reload()
  await form('Sign up').waitFor()
  await signUp('Alice')
  await createTenant('Acme')
  await write('Order more paper')
  await write('The kitchen is closed on Friday', true)
  seen.alice = await texts('#list p')
  seen.claims = await texts('#claims dt')

  await createTenant('Globex')
  seen.otherTenant = await texts('#list p')
  await write(HTML)
  seen.html = { shown: await texts('#list p'), images: await page.locator('img').count(), title: await page.title() }
  await remove(HTML)
  await page.getByLabel('Your tenants').selectOption({ label: 'Acme' })
  await button('Switch').click()
  await message('You are in Acme.')
  seen.switched = await texts('#list p')
  await page.getByLabel('Invite, by e-mail').fill('bob@page.example')
  await button('Invite').click()
  await message('The invitation code')
  const code = (await page.locator('#message').textContent()).split(': ')[1]

  // The database does not know the page's token any more. The page gets a new one by itself.
  seen.refusedBefore = seen.refused.splice(0)
  await rotate()
  await write('Call the plumber')
  seen.rotated = await texts('#list p')
  const number = (await item('The kitchen').locator('small').textContent()).match(/\d+/)[0]
  await remove('Order more paper')
  seen.deleted = await texts('#list p')

  await button('Sign out').click()
  await message('You are signed out.')
  seen.signedOut = await texts('#list p, #claims dd')
  await signUp('Bob')
  await createTenant('Initech')
  seen.bob = await texts('#list p')
  await write('Ask for the budget')
  seen.all = await compare()
  await findBarriers()
  if (picture) {
    const end = await page.locator('#others').evaluate((box) => box.getBoundingClientRect().bottom + window.scrollY)
    await page.screenshot({ path: picture, fullPage: true, clip: { x: 0, y: 0, width: 780, height: end + 16 } })
  }
  seen.one = await compare(number)

  await page.getByLabel('Join, by invitation code').fill(code)
  await button('Join').click()
  await message('You have joined.')
  seen.joined = await texts('#list p')
  await page.reload()
  await page.locator('#list p').first().waitFor()
  seen.reloaded = await texts('#list p')

  // In another window, the cookie becomes another user's. This one does not write in her name.
  const window = await context.newPage()
  await window.goto(url)
  await window.getByRole('button', { name: 'Sign out' }).click()
  await window.getByRole('form', { name: 'Sign in' }).getByLabel('E-mail').fill('alice@page.example')
  await window.getByRole('form', { name: 'Sign in' }).getByLabel('Password').fill('the password of Alice')
  await window.getByRole('button', { name: 'Sign in' }).click()
  await window.getByText('Signed in as Alice').waitFor()
  await rotate()
  await page.getByLabel('New note').fill('From Bob')
  await button('Write').click()
  await message('in another window')
  await window.reload()
  await window.locator('#list p').first().waitFor()
  seen.otherWindow = await window.locator('#list p').allTextContents()
} finally {
  await browser.close()
}
process.stdin.destroy()
console.log(JSON.stringify({ ...seen, requests: [...seen.requests] }))
