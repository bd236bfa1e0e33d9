// Two real issuers over HTTPS on loopback: oidc-provider, and OpenAuth at an origin of its own.
//
//   node serve.mjs CERTIFICATE KEY
//
// Prints their origins, as a line of JSON. Each line of standard input has both go on with a new key alone, and is
// answered by a line. The header X-User says who signs in to OpenAuth.
import { getRequestListener } from '@hono/node-server'
import { issuer } from '@openauthjs/openauth'
import { MemoryStorage } from '@openauthjs/openauth/storage/memory'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'

const [, , certificate, privateKey] = process.argv
const API = 'https://api.example.com'
const CALLBACK = 'https://app.example.com/callback'
// Standard output has the test's lines alone.
console.log = console.info = console.warn = console.error

function privateJwk(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options)
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' }
}

function oidcProvider(origin) {
  const provider = new Provider(origin, {
    clients: [{
      client_id: 'notes-web',
      client_secret: 'secret',
      grant_types: ['authorization_code', 'client_credentials'],
      redirect_uris: [CALLBACK],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    cookies: { keys: ['of the test'] },
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({ scope: 'notes', audience: API, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    jwks: { keys: [privateJwk('rsa', { modulusLength: 2048 }, 'RS256'), privateJwk('ec', { namedCurve: 'P-256' }, 'ES256')] },
    pkce: { required: () => false },
  })
  return provider.callback()
}

function openAuth() {
  const anyone = {
    type: 'anyone',
    init: (routes, context) => routes.get('/authorize', (c) => context.success(c, { id: c.req.header('x-user') })),
  }
  const app = issuer({
    allow: async () => true,
    providers: { anyone },
    storage: MemoryStorage(),
    subjects: {},
    success: (context, { id }) => context.subject('user', { id, tenant: 'acme' }),
  })
  return getRequestListener(app.fetch)
}

// A server whose handler can be replaced.
async function serve(make) {
  let handler
  const options = { cert: readFileSync(certificate), key: readFileSync(privateKey) }
  const server = createServer(options, (request, response) => handler(request, response))
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const origin = `https://localhost:${server.address().port}`
  const renew = () => { handler = make(origin) }
  renew()
  return { origin, renew }
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const servers = [await serve(oidcProvider), await serve(openAuth)]
say(servers.map(({ origin }) => origin))
for await (const _ of createInterface({ input: process.stdin })) {
  servers.forEach(({ renew }) => renew())
  say('renewed')
}
process.exit()
