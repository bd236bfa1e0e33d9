// Verdicts on tokens by jose, and by jsonwebtoken with jwks-rsa, used as Neon's documentation and their own
// pages use them. Reads {url, algorithms, issuer, audience, tokens} and prints, by library, the names
// of the tokens that it accepts, as JSON.
import { createRemoteJWKSet, jwtVerify } from 'jose'
import jwt from 'jsonwebtoken'
import jwksClient from 'jwks-rsa'
import { readFileSync } from 'node:fs'

const { url, algorithms, issuer, audience, tokens } = JSON.parse(readFileSync(0, 'utf8'))
const options = issuer ? { issuer, audience } : {}

const keySet = createRemoteJWKSet(new URL(url))
const client = jwksClient({ jwksUri: url })
const getKey = (header, callback) => {
  client.getSigningKey(header.kid).then((key) => callback(null, key.getPublicKey()), callback)
}

const libraries = {
  jose: (token) => jwtVerify(token, keySet, options),
  jsonwebtoken: (token) => new Promise((resolve, reject) => {
    jwt.verify(token, getKey, { ...options, algorithms }, (error, payload) => error ? reject(error) : resolve(payload))
  }),
}
// jsonwebtoken 9 does not have EdDSA.
if (algorithms.includes('EdDSA')) delete libraries.jsonwebtoken

const accepted = {}
for (const [name, verify] of Object.entries(libraries)) {
  accepted[name] = []
  for (const [what, token] of Object.entries(tokens)) {
    await verify(token).then(() => accepted[name].push(what), () => {})
  }
}
console.log(JSON.stringify(accepted))
