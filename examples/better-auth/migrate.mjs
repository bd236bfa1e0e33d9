// node migrate.mjs: makes or updates the tables of Better Auth and of the application, each as the
// role that owns them.
import { getMigrations } from 'better-auth/db/migration'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import * as betterAuth from './auth.mjs'

await (await getMigrations(betterAuth.options)).runMigrations()
// Makes the first key, if there is none.
await betterAuth.auth.api.getJwks()
await betterAuth.close()

const pool = new pg.Pool({ user: 'app_owner', max: 1 })
await migrate(drizzle(pool), { migrationsFolder: fileURLToPath(new URL('migrations', import.meta.url)) })
await pool.end()
