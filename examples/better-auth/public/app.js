// The page. It signs in at Better Auth by a cookie that it cannot read, gets a token for it, and
// sends that with each request to the API. Tokens are kept in memory only.
const $ = (selector) => document.querySelector(selector)

const state = {
  user: null, // of Better Auth's session
  tenants: [],
  claims: null, // of the token, as the database verified them
  token: null,
  seen: new Map(), // "NAME in TENANT" → the latest such token of this page, whoever it belongs to
}

// Requests. Both throw an Error with `status`.

async function fetchJson(path, { body, bearer, method } = {}) {
  const headers = {}
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (bearer) headers.Authorization = `Bearer ${bearer}`
  const response = await fetch(path, {
    method: method ?? (body === undefined ? 'GET' : 'POST'), headers, body: body === undefined ? undefined : JSON.stringify(body),
  })
  const answer = await response.json().catch(() => null)
  if (response.ok) return answer
  const error = new Error(answer?.message ?? answer?.error ?? response.statusText)
  throw Object.assign(error, { status: response.status, code: answer?.code })
}

const auth = (path, body) => fetchJson(`/api/auth${path}`, { body })

// Tokens. The page decodes them to tell one user's from another's. The claims that it shows are
// from the database.

const base64url = {
  decode: (text) => {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
    return new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)))
  },
  encode: (text) => {
    const binary = String.fromCharCode(...new TextEncoder().encode(text))
    return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  },
}

const payload = (token) => JSON.parse(base64url.decode(token.split('.')[1]))

function keep(token) {
  state.token = token
  const { tenant_id: tenant } = payload(token)
  if (tenant) state.seen.set(`${state.user.name} in ${tenantName(tenant)}`, token)
}

// With the user's own token. It lasts for minutes, and its key may be replaced: a token that is
// refused is exchanged for a new one, once. Another window may have changed the cookie meanwhile,
// so the new one must be for the same user and tenant.
async function api(path, options) {
  try {
    return await fetchJson(`/api${path}`, { ...options, bearer: state.token })
  } catch (error) {
    if (error.status !== 401 && error.status !== 503) throw error
    const { token } = await auth('/token')
    const [old, renewed] = [payload(state.token), payload(token)]
    if (renewed.sub !== old.sub || renewed.tenant_id !== old.tenant_id) {
      throw new Error('The user or the tenant was changed in another window. Reload this page.')
    }
    keep(token)
    return fetchJson(`/api${path}`, { ...options, bearer: token })
  }
}

// Output. Text of users goes into the page as text, never as HTML.

function element(tag, text, ...children) {
  const made = document.createElement(tag)
  if (text !== null) made.textContent = text
  made.append(...children)
  return made
}

function say(text, bad = false) {
  $('#message').textContent = text
  $('#message').classList.toggle('bad', bad)
}

const tenantName = (id) => state.tenants.find((tenant) => tenant.id === id)?.name ?? id

function noteItem(note) {
  const whose = note.author === state.user?.id ? 'you' : 'somebody else'
  const line = `Note ${note.id}, by ${whose}, ${note.shared ? 'shared with the tenant' : 'private'}`
  const item = element('li', null, element('div', null, element('p', note.body), element('small', line)))
  if (note.author === state.user?.id) {
    const button = element('button', 'Delete')
    button.type = 'button'
    button.className = 'quiet'
    button.setAttribute('aria-label', `Delete note ${note.id}`)
    button.addEventListener('click', () => attempt(async () => {
      await api(`/notes/${note.id}`, { method: 'DELETE' })
      await showNotes()
      $('#write textarea').focus() // the button is gone
      say(`Note ${note.id} is deleted.`)
    }))
    item.append(button)
  }
  return item
}

async function showNotes() {
  const notes = state.claims.tenant_id ? await api('/notes') : []
  $('#list').replaceChildren(...notes.map((note) => noteItem(note)))
  $('#none').hidden = notes.length > 0
}

async function showPolicy() {
  const [policy] = await api('/policy')
  $('#policy-name').textContent = policy.name
  $('#policy').textContent = policy.condition
}

function claimText(name, value) {
  if (name === 'exp' || name === 'iat') return `${value} (${new Date(value * 1000).toLocaleTimeString()})`
  if (name === 'tenant_id') return `${value} (${tenantName(value)})`
  return typeof value === 'string' ? value : JSON.stringify(value)
}

// Gets a token for what the session says now, and shows everything that depends on it.
async function show() {
  const session = await auth('/get-session')
  const before = state.user?.id
  state.user = session?.user ?? null
  $('#try').hidden = $('#signed-out').hidden = state.user !== null
  for (const id of ['#who', '#tenants', '#token']) $(id).hidden = state.user === null
  if (state.user) {
    state.tenants = await auth('/organization/list')
    keep((await auth('/token')).token)
    state.claims = await api('/claims')
    const tenant = state.claims.tenant_id
    $('#who-text').textContent = `Signed in as ${state.user.name} (${state.user.email}).`
    $('#switch').hidden = $('#invite').hidden = $('#notes').hidden = !tenant
    $('#tenant-name').textContent = tenant ? tenantName(tenant) : ''
    $('#switch select').replaceChildren(...state.tenants.map(({ id, name }) => new Option(name, id, false, id === tenant)))
    $('#claims').replaceChildren(...Object.entries(state.claims)
      .flatMap(([name, value]) => [element('dt', name), element('dd', claimText(name, value))]))
    await Promise.all([showNotes(), showPolicy()])
  } else {
    state.token = state.claims = null
    $('#notes').hidden = true
    $('#list').replaceChildren()
    $('#claims').replaceChildren()
  }
  // The form that had the focus is gone.
  if (before !== state.user?.id) $('main').focus()
  $('#others').hidden = state.seen.size === 0
  $('#answers').hidden = true
}

// Tokens, compared.

// The token with other claims under the same signature.
function forge(token, claims) {
  const [header, , signature] = token.split('.')
  return [header, base64url.encode(JSON.stringify({ ...payload(token), ...claims })), signature].join('.')
}

// Tokens that the page can ask with: each that it has seen, a forged one, none.
function tokensToCompare() {
  const tokens = [...state.seen]
  const [[first, firstToken], [last, lastToken]] = [tokens[0], tokens.at(-1)]
  if (firstToken !== lastToken) {
    const { sub, tenant_id } = payload(firstToken)
    tokens.push([`${last}, with sub and tenant_id of ${first} written in`, forge(lastToken, { sub, tenant_id })])
  }
  return [...tokens, ['no token', null]]
}

async function askWith([name, token], id) {
  const row = (answer, ...bodies) => {
    const header = element('th', name)
    header.scope = 'row'
    return element('tr', null, header, element('td', answer), element('td', null, ...bodies.map((body) => element('p', body))))
  }
  try {
    const answer = await fetchJson(id ? `/api/notes/${id}` : '/api/notes', { bearer: token })
    const notes = id ? [answer] : answer
    return row(`200: ${notes.length} ${notes.length === 1 ? 'note' : 'notes'}`, ...notes.map((note) => note.body))
  } catch (error) {
    return row(`${error.status}: ${error.message}${error.code ? ` (SQLSTATE ${error.code})` : ''}`)
  }
}

// Actions of the forms.

async function attempt(work) {
  try {
    await work()
  } catch (error) {
    say(`${error.message}${error.status ? ` (${error.status})` : ''}`, true)
  }
}

function onSubmit(id, work, done) {
  $(id).addEventListener('submit', (event) => {
    event.preventDefault()
    attempt(async () => {
      say('')
      const said = await work(Object.fromEntries(new FormData(event.target)))
      event.target.reset()
      await done?.()
      if (said) say(said)
    })
  })
}

const slug = (name) => `${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${crypto.randomUUID().slice(0, 8)}`

onSubmit('#sign-up', (form) => auth('/sign-up/email', form).then(() => 'You are signed up. Create a tenant, or join one.'), show)
onSubmit('#sign-in', (form) => auth('/sign-in/email', form).then(() => 'You are signed in.'), show)
onSubmit('#create', async ({ name }) => {
  const { id } = await auth('/organization/create', { name, slug: slug(name) })
  await auth('/organization/set-active', { organizationId: id })
  return `You are in ${name}.`
}, show)
onSubmit('#switch', async ({ tenant }) => {
  await auth('/organization/set-active', { organizationId: tenant })
  return `You are in ${tenantName(tenant)}.`
}, show)
onSubmit('#invite', async ({ email }) => {
  const { id } = await auth('/organization/invite-member', { email, role: 'member', organizationId: state.claims.tenant_id })
  return `The invitation code for ${email}: ${id}`
})
onSubmit('#join', async ({ code }) => {
  const { invitation } = await auth('/organization/accept-invitation', { invitationId: code })
  await auth('/organization/set-active', { organizationId: invitation.organizationId })
  return 'You have joined.'
}, show)
onSubmit('#write', async ({ body, shared }) => {
  const note = await api('/notes', { body: { body, shared: shared === 'on' } })
  return `Note ${note.id} is written.`
}, showNotes)
onSubmit('#compare', async ({ id }) => {
  const rows = await Promise.all(tokensToCompare().map((token) => askWith(token, id)))
  $('#answers tbody').replaceChildren(...rows)
  $('#answers').hidden = false
})
for (const name of ['Alice', 'Bob']) {
  $(`#try-${name.toLowerCase()}`).addEventListener('click', () => attempt(async () => {
    await auth('/sign-in/email', { email: `${name.toLowerCase()}@example.com`, password: `the password of ${name}` })
    await show()
    say(`You are ${name}.`)
  }))
}
$('#sign-out').addEventListener('click', () => attempt(async () => {
  await auth('/sign-out', {})
  await show()
  say('You are signed out.')
}))

attempt(show)
