// Signs tokens as issuers do, with the keys of ../fixtures/generate/keys. Reads from stdin
// {"keys": [NAME], "tokens": [{"key": NAME, "header": {...}, "claims": {...}}]}, prints
// {"keys": {NAME: public JWK}, "tokens": [TOKEN]}. The key "hmac" is a secret that no key set has.
import { createHmac, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'

const asked = JSON.parse(readFileSync(0, 'utf8'))
const file = (name) => readFileSync(new URL(`../fixtures/generate/keys/${name}.pem`, import.meta.url))
const base64url = (data) => Buffer.from(data).toString('base64url')
const HASH = { HS256: 'sha256', HS512: 'sha512', RS256: 'sha256', ES256: 'sha256', ES384: 'sha384', EdDSA: null }

function signature(alg, name, signed) {
  if (name === 'hmac') return createHmac(HASH[alg], 'a secret of the issuer').update(signed).digest()
  // JWS has ECDSA's signatures as r and s beside each other (RFC 7518 section 3.4).
  return sign(HASH[alg], Buffer.from(signed), { key: createPrivateKey(file(name)), dsaEncoding: 'ieee-p1363' })
}

const tokens = asked.tokens.map(({ key, header, claims }) => {
  const signed = [header, claims].map((part) => base64url(JSON.stringify(part))).join('.')
  return `${signed}.${base64url(signature(header.alg, key, signed))}`
})
const keys = Object.fromEntries(asked.keys.map((name) => [name, createPublicKey(file(name)).export({ format: 'jwk' })]))
console.log(JSON.stringify({ keys, tokens }))
