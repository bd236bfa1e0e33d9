// Answers for requests that the database refuses. `code`, the SQLSTATE, and `message`, the server's, may be
// logged. The error itself may not: Drizzle's has the parameters of the query, and so the token.
function statusOf(code) {
  // No key for it: a fault of the set-up, or a key that was withdrawn. The user is not signed out.
  // An issuer that is not known is 28J13: anybody can send such a token.
  if (code === '28J03') return 503
  // The application forgot the token, or changed it during a query.
  if (code === '28J11' || code === '28J12') return 500
  if (code.startsWith('28J')) return 401
  // A policy refuses the new row.
  if (code === '42501') return 403
  // A value that the column or its constraints do not take.
  if (/^2[23]/.test(code)) return 400
  return 500
}

export function answer(error) {
  const cause = error.cause ?? error // Drizzle wraps node-postgres's error
  const code = String(cause.code ?? '')
  return { status: statusOf(code), code, message: cause.message }
}
