//! Errors, warnings and notices of the session.

use jwt_verify::ErrorKind;

use crate::errors::{message, sqlstate};
use crate::pg::report::{Report, SqlState};
use crate::pg::row_security::Exemption;

/// A token that cannot be judged, because the key tables could not be read.
pub fn keys_unread() -> Report {
    Report::new(sqlstate(ErrorKind::Key), message(ErrorKind::Key).to_owned()).detail(
        "Tables auth.issuers and auth.jwks could not be read: one is missing, altered or \
         being replaced.",
    )
}

/// The session token differs from the one that the enclosing query has used. `could_be_caught`: an
/// exception handler inside of that query may be active, and must not turn the error into an
/// answer. `WHEN OTHERS` of PL/pgSQL does not catch `query_canceled`. `refusal` is the reason why
/// the present token is not good.
pub fn token_changed(could_be_caught: bool, refusal: Option<&Report>) -> Report {
    let rule = "A query uses the claims of one token only, from its first row to its last.";
    Report::new(
        if could_be_caught {
            SqlState::QUERY_CANCELED
        } else {
            SqlState::TOKEN_CHANGED
        },
        "session token changed while the query was running",
    )
    .detail(refusal.map_or_else(
        || rule.to_owned(),
        |refusal| {
            let SqlState(code) = refusal.sqlstate;
            format!(
                "{rule} The token that is set now is refused: {} ({}).",
                refusal.message,
                String::from_utf8_lossy(code)
            )
        },
    ))
    .hint(
        "Sign in by a statement of its own, before the query, and close the cursors of the \
         former user.",
    )
}

/// The WARNING if no policies apply to the role that signs in.
pub fn policies_do_not_apply(exemption: &Exemption) -> Report {
    let (detail, hint) = match exemption {
        Exemption::Superuser => (
            "It is a superuser, and sees all rows, whatever the token.".to_owned(),
            "Connect as a role that is no superuser, or use SET ROLE to become one before signing \
             in."
            .to_owned(),
        ),
        Exemption::Bypasses => (
            "It has BYPASSRLS, and sees all rows, whatever the token.".to_owned(),
            "Connect as a role without BYPASSRLS, or use SET ROLE to become one before signing \
             in."
            .to_owned(),
        ),
        Exemption::Owns(table) => (
            format!(
                "It owns table {table}, or has the rights of its owner, and sees all rows there, \
                 whatever the token."
            ),
            format!(
                "Connect as a role that owns none of the tables, or use ALTER TABLE {table} FORCE ROW \
                 LEVEL SECURITY."
            ),
        ),
    };
    Report::new(
        SqlState::POLICIES_DO_NOT_APPLY,
        "row-level security does not apply to the current role",
    )
    .detail(detail)
    .hint(hint)
}

/// The NOTICE if a token is set for the session because there is no transaction block.
pub fn set_for_session() -> Report {
    Report::new(
        SqlState::SET_FOR_SESSION,
        "token is set for the session, because there is no transaction block",
    )
    .detail("Behind a pooler in transaction mode, the next client of this connection has it, too.")
    .hint(
        "Call auth.jwt_session_init between BEGIN and COMMIT, or set pg_auth_jwt.scope to \
         transaction. Without such a pooler, is_local => false says that the session is \
         meant.",
    )
}

/// A claim function without a session token, while `pg_auth_jwt.require_token` is on.
pub fn no_token() -> Report {
    Report::new(SqlState::NO_TOKEN, "no session token")
        .detail(
            "Setting pg_auth_jwt.require_token is on, and neither this transaction nor this \
             session has a token.",
        )
        .hint(
            "Send BEGIN, auth.jwt_session_init() and the query in one transaction, on one \
             connection. A token that is set with SET LOCAL or is_local => true ends with its \
             transaction, and outside of BEGIN with its statement; behind a transaction pooler, \
             the next statement outside of BEGIN may run on another connection.",
        )
}

/// No token, but a setting in which other software hands over the user.
pub fn unverified_claims_set(name: &str) -> Report {
    Report::new(SqlState::NO_TOKEN, "no session token")
        .detail(format!(
            "Setting {name} is set, which pg_auth_jwt does not read, and \
             pg_auth_jwt.unverified_claims is error."
        ))
        .hint(
            "Pass the user's token to auth.jwt_session_init(), in the same transaction. Or reset \
             that setting for requests without a user.",
        )
}
