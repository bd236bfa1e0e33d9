// The API's way to the database: PgBouncer in transaction mode, as the role `authenticated`.
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'

// PGHOST, PGPORT and PGDATABASE say where.
const pool = new pg.Pool({ user: 'authenticated', max: 20, connectionTimeoutMillis: 10_000 })
// A lost connection is an 'error' event, and without a listener Node.js ends the process.
pool.on('error', (error) => console.error(error.code, error.message))
pool.on('connect', (client) => client.on('error', () => {})) // in use: its query is rejected

const db = drizzle(pool)

// The user of `token`, for the length of one transaction. There is no other way to the database in
// here: `db` is not exported.
export const asUser = (token, work) => db.transaction(async (tx) => {
  await tx.execute(sql`SELECT auth.jwt_session_init(${token})`)
  return work(tx)
})

export const close = () => pool.end()
