// The notes, as JSON. Nothing in here decides who may do what, not even where a request names a
// tenant: the database does, by the token.
import { desc, eq, sql } from 'drizzle-orm'
import { Hono } from 'hono'
import { asUser } from './database.mjs'
import { answer } from './errors.mjs'
import { notes } from './schema.mjs'

const PAGE = 100 // notes in one answer

export const api = new Hono()

// No cookie is looked at, so another site cannot use that of a visitor (CSRF).
api.use(async (c, next) => {
  const [, token] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  if (!token) return c.json({ error: 'a token is needed' }, 401, { 'WWW-Authenticate': 'Bearer' })
  c.set('token', token)
  await next()
})

api.onError((error, c) => {
  const { status, code, message } = answer(error)
  console.error(`${c.req.method} ${c.req.path}: ${status} ${code} ${message}`)
  return c.json(status === 500 ? { error: 'internal error' } : { error: message, code }, status)
})

// The claims as the database verified them.
api.get('/claims', async (c) => {
  const { rows } = await asUser(c.var.token, (tx) => tx.execute(sql`SELECT auth.session() AS claims`))
  return c.json(rows[0].claims)
})

// The condition by which the database shows notes, from its catalog.
api.get('/policy', async (c) => {
  const { rows } = await asUser(c.var.token, (tx) => tx.execute(sql`
    SELECT policyname AS name, qual AS condition FROM pg_policies
     WHERE schemaname = 'public' AND tablename = 'notes' AND cmd = 'SELECT'`))
  return c.json(rows)
})

api.get('/notes', async (c) => {
  const tenant = c.req.query('tenant')
  const rows = await asUser(c.var.token, (tx) => tx.select().from(notes)
    .where(tenant === undefined ? undefined : eq(notes.tenantId, tenant)).orderBy(desc(notes.id)).limit(PAGE))
  return c.json(rows)
})

api.post('/notes', async (c) => {
  const given = await c.req.json().catch(() => null)
  if (typeof given?.body !== 'string' || !given.body) return c.json({ error: 'a note needs a text' }, 400)
  const note = { body: given.body, shared: given.shared === true }
  if (typeof given.tenantId === 'string') note.tenantId = given.tenantId
  const [row] = await asUser(c.var.token, (tx) => tx.insert(notes).values(note).returning())
  return c.json(row, 201)
})

// The same answer for a note of somebody else and for one that does not exist.
const one = (c, found) => found.length ? c.json(found[0]) : c.json({ error: 'no such note' }, 404)
const isNote = (c) => eq(notes.id, Number(c.req.param('id')))

api.get('/notes/:id{[0-9]{1,15}}', (c) =>
  asUser(c.var.token, async (tx) => one(c, await tx.select().from(notes).where(isNote(c)))))

api.delete('/notes/:id{[0-9]{1,15}}', (c) =>
  asUser(c.var.token, async (tx) => one(c, await tx.delete(notes).where(isNote(c)).returning())))
