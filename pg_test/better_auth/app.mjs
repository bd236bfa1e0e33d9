// Serves Better Auth on a Unix socket. A line of standard input is the configuration of a server, which ends the one
// before: loading the packages takes longer than most tests of a server. It is a JSON object, or `null` for no server:
//
//   socket       where it listens
//   database     what node-postgres connects with
//   adapter      "kysely" (default) or "drizzle"
//   options      for betterAuth(), beside what stands here
//   jwt          for the plugin jwt()
//   sid          true: its tokens name their session, as docs/revocation.md has it
//   migrate      true: makes the tables first
//   oauth        for the plugin oauthProvider(), if it is to be an OpenID provider too
//
// Answers with a line once it listens, or once there is none.
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { drizzleAdapter } from '@better-auth/drizzle-adapter'
import { oauthProvider } from '@better-auth/oauth-provider'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import { jwt } from 'better-auth/plugins'
import { drizzle } from 'drizzle-orm/node-postgres'
import { getTableConfig } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import * as schema from './schema.mjs'

// The tables that drizzle-kit makes of the same schema, defaults and indexes aside.
function drizzleTables() {
  return Object.values(schema).map((table) => {
    const { name, columns } = getTableConfig(table)
    const definitions = columns.map((column) => {
      const constraint = column.primary ? 'PRIMARY KEY' : column.notNull ? 'NOT NULL' : ''
      return `"${column.name}" ${column.getSQLType()} ${constraint}`
    })
    return `CREATE TABLE "${name}" (${definitions.join(', ')})`
  }).join(';')
}

async function serve(config) {
  const pool = new pg.Pool(config.database)
  const adapters = {
    kysely: () => ({ db: new Kysely({ dialect: new PostgresDialect({ pool }) }), type: 'postgres' }),
    drizzle: () => drizzleAdapter(drizzle(pool, { schema }), { provider: 'pg', schema }),
  }
  if (config.sid) {
    const definePayload = ({ user, session }) => ({ ...user, sid: session.id })
    config.jwt = { ...config.jwt, jwt: { ...config.jwt?.jwt, definePayload } }
  }
  const options = {
    secret: 'a secret of at least 32 characters, for tests',
    emailAndPassword: { enabled: true },
    database: adapters[config.adapter ?? 'kysely'](),
    telemetry: { enabled: false },
    ...config.options,
    plugins: [jwt(config.jwt)],
  }
  if (config.oauth) {
    options.plugins.push(oauthProvider({ loginPage: '/login', consentPage: '/consent', ...config.oauth }))
  }
  if (config.migrate) {
    if (config.adapter === 'drizzle') await pool.query(drizzleTables())
    else await (await getMigrations(options)).runMigrations()
  }
  const auth = betterAuth(options)
  await auth.$context
  const server = createServer(toNodeHandler(auth))
  await new Promise((resolve) => server.listen(config.socket, resolve))
  return async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await pool.end()
  }
}

let end
for await (const line of createInterface({ input: process.stdin })) {
  const config = JSON.parse(line)
  await end?.()
  end = config ? await serve(config) : undefined
  console.log(config ? 'listening' : 'ended')
}
process.exit()
