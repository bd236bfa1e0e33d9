// node seed.mjs: makes two users to try the page as, with tenants and notes, by the requests that the page sends.
import * as betterAuth from './auth.mjs'
import * as database from './database.mjs'
import { notes } from './schema.mjs'

// One user's browser: keeps the cookies of Better Auth's answers.
function browser() {
  const cookies = new Map()
  return async (path, body) => {
    const headers = { 'content-type': 'application/json', cookie: [...cookies.values()].join('; '), origin: process.env.BASE_URL }
    const request = new Request(`${process.env.BASE_URL}/api/auth${path}`, {
      method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body),
    })
    const answer = await betterAuth.auth.handler(request)
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    for (const cookie of answer.headers.getSetCookie()) cookies.set(cookie.split('=')[0], cookie.split(';')[0])
    return answer.json()
  }
}

async function signUp(name) {
  const ask = browser()
  await ask('/sign-up/email', { name, email: `${name.toLowerCase()}@example.com`, password: `the password of ${name}` })
  return ask
}

async function createTenant(ask, name) {
  const { id } = await ask('/organization/create', { name, slug: `${name.toLowerCase()}-to-try` })
  await ask('/organization/set-active', { organizationId: id })
  return id
}

async function write(ask, ...texts) {
  const { token } = await ask('/token')
  await database.asUser(token, (tx) => tx.insert(notes).values(texts))
}

const [alice, bob] = [await signUp('Alice'), await signUp('Bob')]
const acme = await createTenant(alice, 'Acme')
await write(alice, { body: 'Order more paper' }, { body: 'The kitchen is closed on Friday', shared: true })
const { id } = await alice('/organization/invite-member', { email: 'bob@example.com', role: 'member', organizationId: acme })
await createTenant(bob, 'Initech')
await write(bob, { body: 'Ask for the budget' })
await bob('/organization/accept-invitation', { invitationId: id })
await Promise.all([betterAuth.close(), database.close()])
