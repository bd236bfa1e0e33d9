// Verdicts of jose on each case: reads {keysets, policies, cases}, writes an array of true and false.
import { readFileSync } from 'node:fs'
import { createLocalJWKSet, errors, importJWK, jwtVerify } from 'jose'

const { keysets, policies, cases } = JSON.parse(readFileSync(0, 'utf8'))

// A set is for public keys only, so a secret is looked up beside it, by the same rules.
async function keyFunction(jwks) {
  const isSecret = (jwk) => jwk.kty === 'oct'
  const set = createLocalJWKSet({ keys: jwks.keys.filter((jwk) => !isSecret(jwk)) })
  const secrets = jwks.keys.filter(isSecret)
  return async (header, token) => {
    if (!header.alg.startsWith('HS')) return set(header, token)
    const found = secrets.filter(
      ({ kid, alg }) => (header.kid === undefined || header.kid === kid) && (alg === undefined || alg === header.alg),
    )
    if (found.length !== 1) throw new errors.JWKSNoMatchingKey()
    return importJWK(found[0], header.alg)
  }
}

const keys = Object.fromEntries(
  await Promise.all(Object.entries(keysets).map(async ([name, jwks]) => [name, await keyFunction(jwks)])),
)

async function accepts({ token, keyset, policy: name, now }) {
  const policy = policies[name]
  try {
    await jwtVerify(token, keys[keyset], {
      algorithms: policy.algorithms,
      issuer: policy.issuer ?? undefined,
      audience: policy.audience ?? undefined,
      requiredClaims: policy.required,
      clockTolerance: policy.leeway,
      currentDate: new Date(now * 1000),
    })
    return true
  } catch (error) {
    // An error of the token, not of this script.
    if (error instanceof errors.JOSEError) return false
    console.error(`${error}`)
    return false
  }
}

const verdicts = []
for (const each of cases) verdicts.push(await accepts(each))
process.stdout.write(JSON.stringify(verdicts))
