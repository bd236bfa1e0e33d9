// The web server: Better Auth, the API and the page. For users on other machines, put a proxy that
// speaks https in front of it.
import { serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { secureHeaders } from 'hono/secure-headers'
import { fileURLToPath } from 'node:url'
import { api } from './api.mjs'
import * as betterAuth from './auth.mjs'
import * as database from './database.mjs'

const app = new Hono()

app.use(secureHeaders({
  // The page has its own script and style, and no others.
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
    requireTrustedTypesFor: ["'script'"],
  },
  xFrameOptions: 'DENY',
}))
app.use('/api/*', bodyLimit({ maxSize: 16 * 1024, onError: (c) => c.json({ error: 'the request is too large' }, 413) }))
app.use('/api/*', async (c, next) => {
  await next()
  c.header('Cache-Control', 'no-store')
})

// Better Auth refuses requests with a cookie that come from another origin than its baseURL.
app.on(['GET', 'POST'], '/api/auth/*', (c) => betterAuth.auth.handler(c.req.raw))
app.route('/api', api)
app.use(serveStatic({ root: fileURLToPath(new URL('public', import.meta.url)) }))
app.notFound((c) => c.json({ error: 'no such page' }, 404))

const { hostname, port } = new URL(process.env.BASE_URL)
const server = serve({ fetch: app.fetch, hostname, port }, () => console.log(`listening on ${process.env.BASE_URL}`))

process.on('SIGTERM', () => server.close(() => Promise.all([database.close(), betterAuth.close()])))
