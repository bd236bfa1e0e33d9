// Makes keys and signatures for signer.py, with Node.js alone. Reads one request a line, as JSON, and
// answers each in one line: {make, alg} with the public JWK, {sign, data} with the signature.
import { generateKeyPairSync, sign } from 'node:crypto'
import { createInterface } from 'node:readline'

const kinds = {
  EdDSA: { type: 'ed25519', hash: null },
  ES256: { type: 'ec', options: { namedCurve: 'P-256' }, hash: 'sha256' },
  RS256: { type: 'rsa', options: { modulusLength: 2048 }, hash: 'sha256' },
}
const keys = {}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  if (request.make) {
    const kind = kinds[request.alg]
    const { publicKey, privateKey } = generateKeyPairSync(kind.type, kind.options)
    keys[request.make] = { hash: kind.hash, privateKey }
    console.log(JSON.stringify(publicKey.export({ format: 'jwk' })))
  } else {
    const { hash, privateKey } = keys[request.sign]
    // ieee-p1363: r and s side by side, as JOSE has ECDSA signatures (RFC 7518, section 3.4).
    const signature = sign(hash, Buffer.from(request.data), { key: privateKey, dsaEncoding: 'ieee-p1363' })
    console.log(JSON.stringify(signature.toString('base64url')))
  }
}
