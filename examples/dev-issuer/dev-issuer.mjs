#!/usr/bin/env node
// An issuer for development and CI: makes tokens of any user. Needs Node.js 18 and psql, no packages.
// docs/testing_policies.md shows its use.
//
//   dev-issuer.mjs init [--beside]     makes a key if there is none, and has the database trust it
//                                      for 30 days; again: for 30 days from then on
//   dev-issuer.mjs token SUB [--claims JSON] [--ttl SECONDS | --expired]
//                                      prints a token, for 15 minutes without --ttl
//   dev-issuer.mjs remove              the database trusts it no longer
//
// init and remove connect as psql does (PGHOST, PGDATABASE, ...), as the owner of the extension.
//
// The private key is in .dev-issuer.json in the current folder, or in the file that DEV_ISSUER_KEY names.
// Its holder can be every user of each database that trusts it. So init refuses databases that
// trust other issuers, unless --beside says that this is meant, or another key of this issuer.

import { spawnSync } from 'node:child_process'
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

// No real issuer can have this name (RFC 6761 section 6.4).
export const ISSUER = 'https://dev.invalid'
const MAX_TTL = 86400 // seconds; init sets max_age to it
// Days for which the database trusts the key. A database that should not trust it, because a dump of
// another brought the key along, then does not do so for ever.
const TRUST = 30

const keyFile = () => process.env.DEV_ISSUER_KEY || '.dev-issuer.json'

const noKey = () => `no key in ${keyFile()}: ` + (process.argv.includes('remove')
  ? `to end the trust in another key, DELETE FROM auth.issuers WHERE issuer = '${ISSUER}'` : 'run dev-issuer.mjs init first')

function readKey() {
  const key = createPrivateKey({ key: JSON.parse(readFileSync(keyFile(), 'utf8')), format: 'jwk' })
  const { crv, kty, x } = createPublicKey(key).export({ format: 'jwk' })
  // RFC 7638: these members in this order.
  const thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url')
  return { key, thumbprint, jwks: { keys: [{ kty, crv, x, kid: thumbprint, alg: 'EdDSA', use: 'sig' }] } }
}

function makeKey() {
  const { privateKey } = generateKeyPairSync('ed25519')
  try {
    writeFileSync(keyFile(), JSON.stringify(privateKey.export({ format: 'jwk' })) + '\n', { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
}

/** A token for the user `sub`; with `ttl` below 0, one that has expired. */
export function token(sub, { claims = {}, ttl = 900 } = {}) {
  if (!(ttl <= MAX_TTL)) throw new Error(`ttl is at most ${MAX_TTL} seconds`)
  const { key, thumbprint } = readKey()
  const now = Math.floor(Date.now() / 1000)
  const header = { alg: 'EdDSA', typ: 'JWT', kid: thumbprint }
  const payload = { ...claims, iss: ISSUER, aud: ISSUER, sub, iat: now + Math.min(0, ttl), exp: now + ttl }
  const signed = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
}

// Whether the issuer has another key than ours, or keys from elsewhere.
const TAKEN = `EXISTS (SELECT FROM auth.issuers i WHERE i.issuer = :'issuer' AND (i.source IS NOT NULL
    OR EXISTS (SELECT FROM auth.jwks k WHERE k.issuer = i.issuer AND k.thumbprint <> :'thumbprint')))`

const REFUSE_TAKEN = `SELECT ${TAKEN} AS taken \\gset
\\if :taken
  DO $$ BEGIN RAISE 'the database trusts another key of the issuer https://dev.invalid' USING
      HINT = 'Use the file with that key (DEV_ISSUER_KEY), or delete the issuer from auth.issuers first.'; END $$;
\\endif`

const INIT = `BEGIN;
LOCK TABLE auth.issuers IN SHARE ROW EXCLUSIVE MODE;
${REFUSE_TAKEN}
SELECT NOT :'beside'::boolean AND EXISTS (SELECT FROM auth.issuers WHERE issuer <> :'issuer') AS others \\gset
\\if :others
  DO $$ BEGIN RAISE 'the database trusts other issuers' USING
      DETAIL = 'The development key could then be every user of a database that is in use.',
      HINT = 'If this is a database for development, add --beside.'; END $$;
\\endif
SELECT auth.init(:'jwks', issuer => :'issuer', audience => ARRAY[:'issuer']);
UPDATE auth.jwks SET expires_at = now() + make_interval(days => :trust) WHERE issuer = :'issuer';
UPDATE auth.issuers SET algorithms = '{EdDSA}', required_claims = '{exp,iat,sub}', max_age = make_interval(secs => :max_ttl)
 WHERE issuer = :'issuer';
COMMIT;`

const REMOVE = `BEGIN;
${REFUSE_TAKEN}
DELETE FROM auth.issuers WHERE issuer = :'issuer';
COMMIT;`

function psql(script, variables) {
  const args = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`])
  const run = spawnSync('psql', ['-XAtq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', ...args, '-f', '-'],
    { input: script, stdio: ['pipe', 'inherit', 'inherit'] })
  if (run.error) throw run.error
  return run.status
}

function main() {
  const { values, positionals: [command, sub, ...more] } = parseArgs({
    allowPositionals: true,
    options: {
      beside: { type: 'boolean', default: false }, expired: { type: 'boolean' }, claims: { type: 'string' }, ttl: { type: 'string' },
    },
  })
  if (command === 'token' && sub && !more.length) {
    const options = {}
    if (values.claims !== undefined) options.claims = JSON.parse(values.claims)
    if (values.ttl !== undefined) options.ttl = Number(values.ttl)
    if (values.expired) options.ttl = -3600
    console.log(token(sub, options))
    return 0
  }
  if ((command !== 'init' && command !== 'remove') || sub) {
    console.error('usage: dev-issuer.mjs init [--beside] | token SUB [--claims JSON] [--ttl SECONDS | --expired] | remove')
    return 2
  }
  if (command === 'init') makeKey()
  const { thumbprint, jwks } = readKey()
  const variables = { issuer: ISSUER, thumbprint, jwks: JSON.stringify(jwks), beside: values.beside, max_ttl: MAX_TTL, trust: TRUST }
  return psql(command === 'init' ? INIT : REMOVE, variables)
}

// Not where it is imported.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = main()
  } catch (error) {
    const reason = error.code === 'ENOENT' && error.path === keyFile() ? noKey() : error.message
    console.error(`dev-issuer: ${reason}`)
    process.exitCode = 1
  }
}
