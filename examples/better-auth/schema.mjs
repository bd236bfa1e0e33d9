// The application's tables. `npx drizzle-kit generate` writes the migrations from this.
//
// The policies are the whole of the access control: the API has no other.
import { sql } from 'drizzle-orm'
import { authenticatedRole, crudPolicy } from 'drizzle-orm/neon'
import { bigint, boolean, check, index, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

const isAuthor = (note) => sql`${note.author} = auth.user_id()`
const isInTenant = (note) => sql`${note.tenantId} = auth.session() ->> 'tenant_id'`

export const notes = pgTable('notes', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  // Both come from the token, so a request need not say them. If it does, the policies check them.
  tenantId: text('tenant_id').notNull().default(sql`(auth.session() ->> 'tenant_id')`),
  author: text('author').notNull().default(sql`auth.user_id()`),
  body: text('body').notNull(),
  shared: boolean('shared').notNull().default(false),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
}, (note) => [
  check('notes_body_length', sql`length(${note.body}) BETWEEN 1 AND 2000`),
  index('notes_tenant').on(note.tenantId, note.id),
  // Members read their own notes and those that are shared with the tenant. They change only their
  // own.
  ...crudPolicy({
    role: authenticatedRole,
    read: sql`${isInTenant(note)} AND (${isAuthor(note)} OR ${note.shared})`,
    modify: sql`${isInTenant(note)} AND ${isAuthor(note)}`,
  }),
])
