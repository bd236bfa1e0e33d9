// What to answer when the database refuses, and what to log: the SQLSTATE and the server's message,
// never the error itself, because Drizzle's has the parameters of the query, and so the token.
export function answer(error) {
  const cause = error.cause ?? error // Drizzle wraps node-postgres's error
  const code = String(cause.code ?? '')
  const log = `${code} ${cause.message}`
  // No key for it: a fault of the set-up, or a key that was withdrawn. The user is not signed out.
  if (code === '28J03') return { status: 503, code, log }
  // The application forgot the token, or changed it during a query.
  if (code === '28J11' || code === '28J12') return { status: 500, code, log }
  if (code.startsWith('28J')) return { status: 401, code, log }
  // A policy refuses the new row.
  if (code === '42501') return { status: 403, code, log }
  // A value that the column or its constraints do not take.
  if (/^2[23]/.test(code)) return { status: 400, code, log }
  return { status: 500, code, log }
}
