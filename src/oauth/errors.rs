//! Reasons for which a login by token is refused. They go to the server's log.

use std::ffi::c_int;

use jwt_verify::{ErrorKind, Excerpt};

use crate::errors::{AFTER_SIGNATURE, message, sqlstate};
use crate::pg::report::{Report, SqlState};
use crate::trust::writers::{Right, Stranger};

/// `configuration_limit_exceeded`.
const LIMIT: SqlState = SqlState(b"53400");
const CONNECTION_FAILURE: SqlState = SqlState(b"08006");
const INTERNAL_ERROR: SqlState = SqlState(b"XX000");

fn refused(kind: ErrorKind) -> Report {
    Report::new(sqlstate(kind), message(kind))
}

fn not_ready(reason: &str) -> Report {
    Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, reason)
}

/// A text that has not the form of a token, or whose payload is no JSON object.
pub fn malformed() -> Report {
    refused(ErrorKind::Malformed)
}

pub fn other_issuer(line: &str) -> Report {
    refused(ErrorKind::Issuer).detail(format!(
        "The line of pg_hba.conf is for issuer {}.",
        Excerpt::new(line)
    ))
}

pub fn expired() -> Report {
    refused(ErrorKind::Expired)
}

pub fn no_scope(scopes: &str) -> Report {
    refused(ErrorKind::Claim).detail(format!(
        "The line of pg_hba.conf asks for scope {}, and the token's claims scope and scp lack a part of it.",
        Excerpt::new(scopes)
    ))
}

pub fn no_database() -> Report {
    not_ready("there is no database for logins").hint(
        "Set pg_auth_jwt.login_database to the database in which tokens are verified at login.",
    )
}

/// The extension is missing in the database for logins, or belongs to a role that is no superuser.
pub fn no_extension(is_there: bool) -> Report {
    if is_there {
        not_ready("extension pg_auth_jwt in pg_auth_jwt.login_database is not owned by a superuser")
            .detail("Its owner adds issuers and keys, and so decides who may log in.")
            .hint("Create it there as a superuser.")
    } else {
        not_ready("extension pg_auth_jwt is missing in pg_auth_jwt.login_database")
            .hint("Create it there as a superuser.")
    }
}

/// A role that is no superuser decides about keys.
pub fn keys_of_a_stranger(stranger: &Stranger) -> Report {
    let role = Excerpt::new(&stranger.role);
    let (detail, hint) = match &stranger.right {
        Right::OwnsDatabase => (
            format!("Role {role} owns the database, and so can put another one in its place."),
            "ALTER DATABASE ... OWNER TO a superuser.",
        ),
        Right::Owns(table) => (
            format!(
                "Role {role} owns table {}, and so decides who may log in.",
                Excerpt::new(table)
            ),
            "ALTER TABLE ... OWNER TO a superuser.",
        ),
        Right::Writes(table) => (
            format!(
                "Role {role} may write to table {}, and so decides who may log in.",
                Excerpt::new(table)
            ),
            "Revoke that: SELECT auth.revoke_from(role) takes what auth.grant_to has given.",
        ),
    };
    not_ready("keys in pg_auth_jwt.login_database are not those of superusers alone")
        .detail(detail)
        .hint(hint)
}

pub fn no_issuer_row(issuer: &str) -> Report {
    not_ready(
        "issuer of the token has no row of its own in auth.issuers of pg_auth_jwt.login_database",
    )
    .detail(format!(
        "Its tokens are accepted by the row *, which does not do for logins. The issuer is {}.",
        Excerpt::new(issuer)
    ))
}

pub fn no_audience(issuer: &str) -> Report {
    not_ready("issuer of the token has no audience in auth.issuers of pg_auth_jwt.login_database")
        .detail(format!(
            "Without it, a token that {} gave for any other service would open connections.",
            Excerpt::new(issuer)
        ))
        .hint("Set \"audience\" of its row.")
}

pub fn bad_claim_path() -> Report {
    Report::new(
        SqlState::INVALID_PARAMETER_VALUE,
        "pg_auth_jwt.login_claim is neither a name nor a path of a claim",
    )
}

pub fn no_name(claim: &str) -> Report {
    refused(ErrorKind::Claim).detail(format!(
        "The token has no usable string in claim {}, which pg_auth_jwt.login_claim names.",
        Excerpt::new(claim)
    ))
}

/// The token names no role that its issuer's row allows: the reason of `auth.login`, which is another place.
pub fn no_role(reason: Report) -> Report {
    Report {
        message: "token gives no role".to_owned(),
        ..reason
    }
}

/// The role is not the one that the token's claim names.
pub fn other_role(claimed: &str) -> Report {
    not_permitted("token is for another role").detail(format!(
        "The claim that \"role_claim\" of the issuer's row names has role {}, and the line of pg_hba.conf leaves the \
         role to it (delegate_ident_mapping).",
        Excerpt::new(claimed)
    ))
}

pub fn role_missing() -> Report {
    not_permitted("role does not exist")
}

/// The role is one that a token does not open.
pub fn role_too_mighty(reason: &str) -> Report {
    not_permitted("role may not log in by token")
        .detail(format!("The role {reason}."))
        .hint("pg_auth_jwt.login_superuser = on allows it.")
}

fn not_permitted(reason: &str) -> Report {
    Report::new(SqlState::INSUFFICIENT_PRIVILEGE, reason)
}

/// All places for verification stayed taken.
pub fn busy() -> Report {
    Report::new(LIMIT, "too many logins at once")
        .hint("pg_auth_jwt.login_workers is the number of logins that are verified at once.")
}

/// All of `max_worker_processes` stayed taken.
pub fn no_worker() -> Report {
    Report::new(LIMIT, "no background worker is free")
        .hint(
            "Make max_worker_processes at least the sum of max_parallel_workers, pg_auth_jwt.login_workers and the \
             workers of everything else.",
        )
}

/// The worker gave no answer in time.
pub fn too_late() -> Report {
    Report::new(LIMIT, "verification took too long")
}

/// The worker ended without an answer.
pub fn no_answer() -> Report {
    not_ready("verification ended without an answer")
        .detail("The background worker has ended. Its own line in the log has the reason.")
}

/// A token that was sent over a network in the clear; a WARNING.
pub fn without_tls() -> Report {
    Report::new(SqlState::WARNING, "token for a login came without TLS")
        .detail("Whoever has read it can log in by it until it expires.")
        .hint("Write hostssl in pg_hba.conf, not host.")
}

pub fn client_gone() -> Report {
    Report::new(CONNECTION_FAILURE, "client has closed the connection")
}

/// A value of an option in pg_hba.conf that cannot be read.
pub fn bad_option(name: &str) -> Report {
    Report::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("option validator.{name} of pg_hba.conf is neither on nor off"),
    )
}

/// Something that must not happen.
pub fn internal(reason: &str) -> Report {
    Report::new(INTERNAL_ERROR, reason)
}

/// Whether a refusal of this SQLSTATE comes after the signature was found good, so that its DETAIL quotes nothing that a
/// stranger wrote.
pub fn is_of_verified(code: c_int) -> bool {
    AFTER_SIGNATURE
        .iter()
        .any(|kind| sqlstate(*kind).encoded() == code)
}
