// Plays one client of docs/clients.md: node run.mjs NAME TOKENS, beside NAME.js and errors.js, which
// tsc makes of blocks of that page. Prints what it saw, as JSON.
import { inspect } from 'node:util'
import { sql } from 'drizzle-orm'
import { sql as kyselySql } from 'kysely'
import { answer } from './errors.js'
import { pool } from './pool.js'

const [name, tokens] = [process.argv[2], JSON.parse(process.argv[3])]
const client = await import(`./${name}.js`)

// A statement on a handle; the handle that is no user's; the end.
const { run, nobody, end } = {
  node_postgres: () => ({ run: async (h, text) => (await h.query(text)).rows, nobody: pool, end: () => pool.end() }),
  postgres_js: () => ({ run: (h, text) => h.unsafe(text), nobody: client.sql, end: () => client.sql.end() }),
  drizzle: () => ({ run: async (h, text) => (await h.execute(sql.raw(text))).rows, nobody: client.db, end: () => pool.end() }),
  kysely: () => ({ run: async (h, text) => (await kyselySql.raw(text).execute(h)).rows, nobody: client.db, end: () => client.db.destroy() }),
}[name]()

const bodies = (rows) => rows.map(({ body }) => body).sort()
const notes = async (token) => bodies(await client.notes(token))

// The error of a request: the page's answer to it, and which of its sides has the token.
async function refusal(token, work) {
  try {
    await (work ? client.asUser(token, work) : client.notes(token))
    return null
  } catch (error) {
    // Pieces, because a message may quote less than the whole token.
    const pieces = Array.from({ length: token.length - 15 }, (_, at) => token.slice(at, at + 16))
    const has = (text) => pieces.some((piece) => String(text).includes(piece))
    const { status, log } = answer(error)
    return {
      status, log, code: error.code, cause: error.cause?.code,
      leaks: Object.entries({
        log, message: error.message, printed: inspect(error), hidden: inspect(error, { showHidden: true, depth: 9 }),
      }).filter(([, text]) => has(text)).map(([side]) => side),
    }
  }
}

const seen = { own: [await notes(tokens.alice), await notes(tokens.bob)], refused: {}, failed: {}, crossings: [] }

for (const [why, token] of Object.entries(tokens.refused)) seen.refused[why] = await refusal(token)

const failures = {
  'of the application': async () => { throw new Error('of the application') },
  'of a statement': (h) => run(h, 'SELECT 1 / 0'),
  'a row of another': (h) => run(h, "INSERT INTO notes (owner, body) VALUES ('bob', 'x')"),
  'no token': async (h) => {
    await run(h, 'SET LOCAL pg_auth_jwt.require_token = on')
    await run(h, 'SELECT auth.jwt_session_init(NULL)')
    await run(h, 'SELECT body FROM notes')
  },
  'another token in a query': async (h) => {
    await run(h, 'SET LOCAL pg_auth_jwt.evaluate_once = off')
    await run(h, 'DECLARE c CURSOR FOR SELECT auth.user_id() FROM notes')
    await run(h, 'FETCH 1 FROM c')
    await run(h, `SELECT auth.jwt_session_init('${tokens.bob}')`)
    await run(h, 'FETCH 1 FROM c')
  },
  'of the connection': (h) => run(h, 'SELECT pg_terminate_backend(pg_backend_pid())'),
}
// postgres.js 3.4.9 ends the process then.
if (name === 'postgres_js') delete failures['of the connection']
for (const [what, fail] of Object.entries(failures)) {
  seen.failed[what] = await refusal(tokens.alice, async (h) => {
    await run(h, "INSERT INTO notes (body) VALUES ('of a request that failed')")
    await fail(h)
  })
}

// More requests at once than connections; some are refused, some fail.
const wanted = { alice: seen.own[0].join(), bob: seen.own[1].join() }
seen.requests = 0
await Promise.all(Array.from({ length: 40 }, async (_, n) => {
  for (let turn = 0; turn < 5; turn++) {
    const user = (n + turn) % 2 ? 'alice' : 'bob'
    if (n % 8 === 0) await refusal(tokens.refused.expired)
    if (n % 8 === 1) await refusal(tokens[user], failures['of a statement'])
    if (n % 8 === 2 && (await run(nobody, 'SELECT body FROM notes')).length) seen.crossings.push('nobody')
    if ((await notes(tokens[user])).join() !== wanted[user]) seen.crossings.push(user)
    seen.requests++
  }
}))
seen.nobody = bodies(await run(nobody, 'SELECT body FROM notes'))
await end()
console.log(JSON.stringify(seen))
