// Plays the Prisma client of docs/clients.md, which is prisma.ts beside it: see pg_test/lib/lines.py.
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'
import { answer, asUser, notes, prisma } from './prisma.js'

const hex = (text) => Buffer.from(String(text)).toString('hex')

// The first column of the rows. What is no query is executed, because it has no rows that Prisma could read.
async function run(handle, sql) {
  if (!/^(SELECT body|FETCH)/.test(sql)) return (await handle.$executeRawUnsafe(sql), [])
  return (await handle.$queryRawUnsafe(sql)).map((row) => Object.values(row)[0])
}

async function perform(token, statements) {
  if (!statements.length) return (await notes(token)).map(({ body }) => body)
  if (token === '-') return run(prisma, statements[0])
  return asUser(token, async (tx) => {
    let rows = []
    for (const statement of statements) {
      if (statement === '!') throw new Error('of the application')
      if (statement === '?') await tx.$executeRaw`SELECT auth.no_such_function(${token})`
      else rows = await run(tx, statement)
    }
    return rows
  })
}

async function line([id, token, ...statements]) {
  try {
    return [id, 'rows', ...(await perform(token, statements)).map(hex)].join('\t')
  } catch (error) {
    const { status, log } = answer(error)
    const code = error.meta?.driverAdapterError?.cause?.code ?? ''
    const texts = [log, code, error.constructor.name, error.message, inspect(error, { showHidden: true, depth: 9 })]
    return [id, 'error', status, ...texts.map(hex)].join('\t')
  }
}

// As many at once as a server of the application would have.
const requests = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
await Promise.all(Array.from({ length: 40 }, async () => {
  for (let next = await requests.next(); !next.done; next = await requests.next()) {
    console.log(await line(next.value.split('\t')))
  }
}))
await prisma.$disconnect()
