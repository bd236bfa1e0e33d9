//! Errors, warnings and notices of the session.

use jwt_verify::{ErrorKind, Excerpt};

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

/// `auth.login` outside of a transaction block, where token and role would be gone with the statement.
pub fn login_outside_block() -> Report {
    Report::new(
        SqlState::NO_ACTIVE_SQL_TRANSACTION,
        "auth.login can only be used in transaction blocks",
    )
    .detail("Token and role last until the end of the transaction.")
    .hint("Send BEGIN first, then auth.login() and the queries, then COMMIT.")
}

/// A refusal of `auth.login`.
fn login_refused(detail: String) -> Report {
    Report::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "login by token is refused",
    )
    .detail(detail)
}

/// The issuer's row gives no role.
pub fn no_login() -> Report {
    login_refused("The row of the token's issuer in auth.issuers gives its tokens no role.".to_owned())
        .hint(
            "Set its \"role_claim\" to the claim that names the role, and \"allowed_roles\" to the roles \
             that it may name.",
        )
}

/// The token lacks the claim that names its role.
pub fn no_role_claim(path: &[String]) -> Report {
    let path: Vec<String> = path
        .iter()
        .map(|part| Excerpt::new(part).to_string())
        .collect();
    login_refused(format!(
        "The token has no string in the claim {} that names its role.",
        path.join(" -> ")
    ))
    .hint("Have the issuer add it, or change \"role_claim\" of its row in auth.issuers.")
}

/// The issuer's row does not allow the role.
pub fn role_not_allowed(role: &str) -> Report {
    login_refused(format!(
        "The row of the token's issuer in auth.issuers does not allow role {}.",
        Excerpt::new(role)
    ))
    .hint("\"allowed_roles\" of that row lists the roles that its tokens may name.")
}

/// There is no such role.
pub fn role_missing(role: &str) -> Report {
    login_refused(format!("Role {} does not exist.", Excerpt::new(role)))
        .hint("Create it, or take it out of \"allowed_roles\" of the issuer's row in auth.issuers.")
}

/// Another token is set while a role is from the claims of a former one.
pub fn already_logged_in() -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "transaction is logged in by another token",
    )
    .detail("auth.login() has set the role of this transaction, by the claims of that token.")
    .hint("End the transaction first, or call auth.login() with the other token.")
}

/// A token that does not name the role that the login's token has opened.
pub fn not_of_login(name: &str) -> Report {
    Report::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("token is for another role, {}", Excerpt::new(name)),
    )
    .detail("The token that opened this connection has given it its role.")
    .hint("Open another connection by this token.")
}

/// A token that was assigned by hand, in a connection whose role the login's token has opened.
pub fn token_not_admitted() -> Report {
    Report::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "session token was set without auth.jwt_session_init()",
    )
    .detail(
        "The token that opened this connection has given it its role, and another one must name the same role.",
    )
    .hint(
        "Pass the token to auth.jwt_session_init(). RESET pg_auth_jwt.token returns to the login's token.",
    )
}

/// The role is not the one to which the token is bound.
pub fn other_role() -> Report {
    Report::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "session token is for another role than the present one",
    )
    .detail("auth.login(), or the connection's login, has set it together with a role, and the role was changed since.")
    .hint(
        "Leave the role to it: no SET ROLE or RESET ROLE until the end of the transaction, \
         and no function with a SET clause for \"role\".",
    )
}
