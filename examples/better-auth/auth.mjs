// Better Auth, with its tables in the same database. It connects as its own role, whose search_path
// is its own schema; see setup/roles.sql.
import { betterAuth } from 'better-auth'
import { jwt, organization } from 'better-auth/plugins'
import pg from 'pg'

const pool = new pg.Pool({ user: 'better_auth', max: 10, connectionTimeoutMillis: 10_000 })
pool.on('error', (error) => console.error(error.code, error.message))
pool.on('connect', (client) => client.on('error', () => {}))

const membership = async (userId, tenantId) =>
  (await pool.query('SELECT role FROM member WHERE "userId" = $1 AND "organizationId" = $2', [userId, tenantId])).rows[0]

const firstTenant = async (userId) =>
  (await pool.query('SELECT "organizationId" FROM member WHERE "userId" = $1 ORDER BY "createdAt", id LIMIT 1', [userId])).rows[0]

export const options = {
  appName: 'Notes',
  baseURL: process.env.BASE_URL,
  secret: process.env.BETTER_AUTH_SECRET,
  // People type localhost for 127.0.0.1. The tokens name the baseURL in either case.
  trustedOrigins: [process.env.BASE_URL.replace('//127.0.0.1:', '//localhost:')],
  database: pool,
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  // If NODE_ENV is `test`, requests from other sites would otherwise be let in.
  advanced: { disableOriginCheck: false },
  plugins: [
    organization(),
    jwt({
      // A key signs for 30 days. Its tokens are good for an hour more: `grace` in setup/follow.sql.
      jwks: { rotationInterval: 30 * 24 * 3600, gracePeriod: 3600 },
      jwt: {
        // A token is good until its end, also if its user has signed out or left the tenant.
        expirationTime: '5m',
        // All that the policies and the page read. The session says which tenant the user chose.
        // The table of members is asked each time: the user may have been removed since.
        definePayload: async ({ user, session }) => {
          const tenant = session.activeOrganizationId
          const member = tenant ? await membership(user.id, tenant) : undefined
          return { name: user.name, email: user.email, ...(member && { tenant_id: tenant, tenant_role: member.role }) }
        },
      },
    }),
  ],
  databaseHooks: {
    session: {
      create: {
        before: async (session) => ({
          data: { ...session, activeOrganizationId: (await firstTenant(session.userId))?.organizationId ?? null },
        }),
      },
    },
  },
}

export const auth = betterAuth(options)
export const close = () => pool.end()
