//! SQLSTATEs of the extension's own, the errors of refused tokens, and those that several rooms
//! raise. Other errors are in the file `errors.rs` of the room that raises them; those of the
//! calling convention in [`crate::pg::function`].
//!
//! Messages name the claim and the rule, never the token, a signature or a key. The verifier has
//! already quoted, escaped and cut the texts from a token.

// A new error of the verifier must not get the code or the hint of another by default.
#![deny(clippy::wildcard_enum_match_arm)]

use jwt_verify::{Error, ErrorKind, Terms};

use crate::pg::report::{Report, SqlState};
use crate::pg::row::NotUtf8;

/// SQLSTATEs of the extension's own, beside those of refused tokens ([`sqlstate`]).
impl SqlState {
    /// No session token, although a setting requires one.
    pub const NO_TOKEN: Self = Self(b"28J11");
    /// The session token differs from the one that the query has used.
    pub const TOKEN_CHANGED: Self = Self(b"28J12");
    /// A warning: no policy applies to the role that signs in.
    pub const POLICIES_DO_NOT_APPLY: Self = Self(b"01J01");
    /// A notice: the token is set for the session, because there is no transaction block.
    pub const SET_FOR_SESSION: Self = Self(b"01J02");
}

/// The SQLSTATE of a refused token. Class 28 (invalid authorization), so that a client can tell a
/// refusal by its first two characters.
pub fn sqlstate(kind: ErrorKind) -> SqlState {
    SqlState(match kind {
        ErrorKind::Malformed => b"28J01",
        ErrorKind::Algorithm => b"28J02",
        ErrorKind::Key => b"28J03",
        ErrorKind::Signature => b"28J04",
        ErrorKind::Expired => b"28J05",
        ErrorKind::NotYetValid => b"28J06",
        ErrorKind::Issuer => b"28J07",
        ErrorKind::Audience => b"28J08",
        ErrorKind::Claim => b"28J09",
        ErrorKind::Revoked => b"28J10",
        ErrorKind::UnknownIssuer => b"28J13",
    })
}

/// Kinds for which a token is refused only after its signature was found good.
#[cfg(login_by_token)]
pub const AFTER_SIGNATURE: [ErrorKind; 4] = [
    ErrorKind::Audience,
    ErrorKind::Expired,
    ErrorKind::NotYetValid,
    ErrorKind::Revoked,
];

/// The message for each kind of refusal; the error itself gives the DETAIL.
pub fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Malformed => "malformed token",
        ErrorKind::Algorithm => "algorithm of the token is not allowed",
        ErrorKind::Key => "no key for this token",
        ErrorKind::Signature => "signature of the token does not match",
        ErrorKind::Expired => "token has expired",
        ErrorKind::NotYetValid => "token is not valid yet",
        ErrorKind::Issuer => "issuer of the token is refused",
        ErrorKind::Audience => "audience of the token is refused",
        ErrorKind::Claim => "claim of the token is refused",
        ErrorKind::Revoked => "token is revoked",
        ErrorKind::UnknownIssuer => "issuer of the token is not known",
    }
}

/// The words of advice about an issuer whose keys were loaded with `auth.init` or SQL, and about one that is
/// not known.
pub const LOADED: Terms = Terms {
    add_issuer: "have its keys followed with auth.follow() or auth.follow_url(), or load them with \
                 auth.init()",
    issuers: "auth.issuers",
    unknown_key: "after a rotation, load the issuer's new JWKS with auth.init(); else the token is \
                  from another environment",
    no_keys: "after a rotation, load the issuer's new JWKS with auth.init()",
    expired_key: "set a later \"expires_at\" in auth.jwks",
    keys: "auth.jwks",
    present_keys: "load that with auth.init()",
    takes_secrets: true,
    audiences: "the extension's owner sees what is accepted with auth.inspect()",
};

/// The same for an issuer whose keys are followed in a table.
pub const FOLLOWED: Terms = Terms {
    unknown_key: "the issuer's keys are followed in a table; the view auth.key_status lists them",
    no_keys: "the issuer's keys are followed in a table; the view auth.key_status lists them",
    expired_key: "set a later end in its row of the followed table; the view auth.key_status lists \
                  them",
    keys: "the followed table",
    present_keys: "look into auth.key_status for the table that is followed",
    takes_secrets: false,
    ..LOADED
};

/// The same for an issuer whose keys are fetched.
pub const FETCHED: Terms = Terms {
    unknown_key: "the issuer's keys are fetched from a URL; the view auth.key_status says how that \
                  goes",
    no_keys: "the issuer's keys are fetched from a URL; the view auth.key_status says how that \
              goes",
    expired_key: "set \"expires_at\" of its row in auth.jwks to NULL: somebody has ended it by hand",
    present_keys: "fetch that with auth.refresh()",
    takes_secrets: false,
    ..LOADED
};

/// A refused token; `terms` are the words for its issuer's source of keys.
pub fn token_refused(error: &Error, token: &str, terms: &Terms) -> Report {
    Report::new(sqlstate(error.kind()), message(error.kind()).to_owned())
        .detail(sentence(&error.to_string()))
        .hint_if(jwt_verify::advice(token, error, terms).map(|advice| sentence(&advice)))
}

/// A token that is longer than any good one.
pub fn token_too_long(bytes: usize) -> Report {
    token_refused(&Error::TokenTooLong { bytes }, "", &LOADED)
}

/// A claim that a `text` or `jsonb` of this database cannot hold.
pub fn not_in_server_encoding() -> Report {
    Report::new(sqlstate(ErrorKind::Malformed), "malformed token")
        .detail("Its claims hold a character that the encoding of this database lacks.")
        .hint("Use a database whose encoding is UTF8.")
}

/// A name or a JWK that no token, whose text is UTF-8, could match.
fn not_utf8() -> Report {
    Report::new(
        SqlState::UNTRANSLATABLE_CHARACTER,
        "text cannot be converted to UTF-8",
    )
    .detail("Issuers, keys and audiences are compared to tokens, whose text is UTF-8.")
    .hint("Use a database whose encoding is UTF8.")
}

impl From<NotUtf8> for Report {
    fn from(NotUtf8: NotUtf8) -> Self {
        not_utf8()
    }
}

/// Text of a key with characters that the encoding of the database lacks.
pub fn not_storable() -> Report {
    Report::new(
        SqlState::UNTRANSLATABLE_CHARACTER,
        "text cannot be converted to the encoding of this database",
    )
    .hint("Use a database whose encoding is UTF8.")
}

pub fn invalid(message: String, detail: Option<String>, hint: Option<&str>) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
        .detail_if(detail)
        .hint_if(hint.map(str::to_owned))
}

/// The reasons for which keys were left out, a line for each of the first ones.
pub fn reasons_in_lines(reasons: &[(String, String)]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = reasons
        .iter()
        .take(SHOWN)
        .map(|(name, reason)| format!("Key {name}: {reason}."))
        .collect();
    let more = reasons.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("And {more} more."));
    }
    lines.join("\n")
}

/// A required argument that is NULL.
pub fn argument_is_null(name: &str) -> Report {
    Report::new(
        SqlState::NULL_VALUE_NOT_ALLOWED,
        format!("{name} must not be null"),
    )
}

/// A missing relation, in Postgres's words.
pub fn no_such_relation(oid: u32) -> Report {
    Report::new(
        SqlState::UNDEFINED_TABLE,
        format!("relation with OID {oid} does not exist"),
    )
}

pub fn notice(message: String, detail: &str, hint: Option<String>) -> Report {
    Report::new(SqlState::SUCCESSFUL_COMPLETION, message)
        .detail(detail.to_owned())
        .hint_if(hint)
}

/// A query of ours with a result that the extension's own tables cannot give. Postgres's own errors
/// are raised as they are.
pub fn tables_unreadable(error: pgrx::spi::SpiError) -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "could not read the key tables",
    )
    .detail(sentence(&error.to_string()))
    .hint("auth.issuers and auth.jwks must be as the extension created them, without rules.")
}

/// A line of the verifier as a DETAIL: a sentence.
pub fn sentence(line: &str) -> String {
    let mut chars = line.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}
