//! Errors, warnings and notices of the functions that the owner calls.

use jwt_verify::{Excerpt, JwksError, RevokedBy, UnixTime};

use crate::errors::{invalid, notice, reasons_in_lines, sentence};
use crate::pg::report::{Report, SqlState};
use crate::trust::fetch::hosts::Addition;
use crate::trust::store::errors::{name_hmac, private_key};

/// Not a JWKS. `text` is the argument, as `jsonb` writes it.
pub fn not_a_jwks(error: &JwksError, text: &str) -> Report {
    if error.is_private_key() {
        return private_key();
    }
    const PEM: &str = "Turn the PEM into a JWK first, for example with Node.js: node -e \
                       'console.log(JSON.stringify(require(\"crypto\").createPublicKey(require(\"fs\").readFileSync(0)).export({format:\"jwk\"})))' \
                       < key.pem";
    let hint = match text.trim_start() {
        text if text.starts_with("\"-----BEGIN") => Some(PEM),
        text if text.starts_with("\"http") => {
            Some("Nothing is fetched here: pass what this URL answers.")
        }
        text if text.starts_with("\"<") => {
            Some("This is a web page: look for the URL of the JWKS, and pass what that answers.")
        }
        text if text.starts_with("\"eyJ") => {
            Some("This is a token: pass the public keys of its issuer.")
        }
        text if text.contains("\"jwks_uri\"") => Some(
            "This is the discovery document: pass what the URL in its member \"jwks_uri\" \
             answers.",
        ),
        _ if matches!(error, JwksError::NotASet) => Some(NO_KEYS),
        _ => None,
    };
    invalid(
        "JWKS is not acceptable".to_owned(),
        Some(sentence(&error.to_string())),
        hint,
    )
}

/// Keys of an issuer whose audience is not checked; a NOTICE.
pub fn audience_not_checked(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    let issuer = Excerpt::new(issuer);
    Report::new(
        SqlState::SUCCESSFUL_COMPLETION,
        format!("audience of issuer {issuer} is not checked"),
    )
    .detail(
        "Its tokens are accepted whatever their \"aud\" says, also those for other \
         applications.",
    )
    .hint(format!(
        "Name the audience: SELECT auth.init(..., issuer => {quoted}, audience => \
         '{{my-app}}');"
    ))
}

/// A JWKS of which no key can be used; `reasons` are (name, reason) of each. `secrets_of` is the
/// issuer, if one of them is a shared secret that it may not have.
pub fn no_usable_key(reasons: &[(String, String)], secrets_of: Option<&str>) -> Report {
    let detail = if reasons.is_empty() {
        "It holds no keys.".to_owned()
    } else {
        reasons_in_lines(reasons)
    };
    let hint = secrets_of
        .map(name_hmac)
        .or_else(|| reasons.is_empty().then(|| NO_KEYS.to_owned()));
    invalid(
        "no usable key in the JWKS".to_owned(),
        Some(detail),
        hint.as_deref(),
    )
}

/// Advice on a set without keys.
pub const NO_KEYS: &str = "An issuer that signs with a shared secret publishes no keys: have it sign with an \
                           asymmetric key (RS256, ES256, EdDSA).";

/// `auth.follow_url` for any issuer, without the URL of the keys.
pub fn no_discovery_of_any() -> Report {
    invalid(
        "issuer \"*\" has no discovery document".to_owned(),
        Some("A discovery document names its issuer, and must be of that one.".to_owned()),
        Some("Pass the URL of the keys: url => 'https://...'."),
    )
}

/// A URL that `auth.follow_url` refuses; `is_of_issuer`: it was made of the issuer's name.
pub fn url_not_acceptable(reason: &str, is_of_issuer: bool) -> Report {
    let hint = is_of_issuer.then_some(
        "Without an argument url, the issuer itself must be a URL, below which its OpenID \
         discovery document is. Pass the URL of the keys: url => 'https://...'.",
    );
    invalid(
        "URL is not acceptable".to_owned(),
        Some(sentence(reason)),
        hint,
    )
}

/// A URL that the present settings do not allow to be fetched; a WARNING. `entry` is what the setting has to
/// list.
pub fn host_not_admitted(reason: &str, entry: &str) -> Report {
    let how = Addition::of(entry).hint();
    let caution = if entry.starts_with("http://") {
        "Without TLS, whoever is between this server and that host can give it keys of their \
         own. "
    } else {
        ""
    };
    Report::new(
        SqlState::WARNING,
        "keys cannot be fetched from this URL yet",
    )
    .detail(sentence(reason))
    .hint(format!("{caution}{how}"))
}

/// Keys of an issuer whose audience is not checked, and that are fetched; a NOTICE.
pub fn audience_of_url_not_checked(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    Report {
        hint: Some(format!(
            "Name the audience: SELECT auth.follow_url({quoted}, audience => '{{my-app}}');"
        )),
        ..audience_not_checked(issuer)
    }
}

/// `auth.follow` for an issuer of which no audience is checked.
pub fn audience_required() -> Report {
    invalid(
        "an audience is required to follow a table".to_owned(),
        Some(
            "Issuers sign tokens for other applications with the same keys; only the audience \
             tells them apart."
                .to_owned(),
        ),
        Some(
            "Pass what the tokens for this application have in \"aud\", as in audience => \
             '{https://app.example.com}'.",
        ),
    )
}

/// An argument `columns` of `auth.follow` that is not an object of known members.
pub fn columns_not_acceptable(member: Option<&str>, known: &str) -> Report {
    let detail = match member {
        Some(member) => format!(
            "Member {} is unknown, or neither a column's name nor null.",
            Excerpt::new(member)
        ),
        None => "It is not a JSON object.".to_owned(),
    };
    let hint = format!("Its members may be {known}.");
    invalid(
        "argument columns is not acceptable".to_owned(),
        Some(detail),
        Some(&hint),
    )
}

/// A negative interval.
pub fn negative_interval(name: &str) -> Report {
    invalid(format!("{name} must not be negative"), None, None)
}

/// Rows of `auth.jwks` that a followed issuer no longer needs; a NOTICE.
pub fn keys_removed(count: usize) -> Report {
    notice(
        format!("removed {count} keys of the issuer from auth.jwks"),
        "An issuer's keys come from one source only.",
        None,
    )
}

/// A followed table without a column of the usual names for the keys' expiry; a NOTICE.
pub fn keys_do_not_expire(table: &str) -> Report {
    notice(
        format!("keys in table {table} do not expire"),
        "It has no column \"expiresAt\" or \"expires_at\", and none is named.",
        Some(
            "If another column says until when a key is used, name it: columns => \
             '{\"expires_at\": \"...\"}'. With null for its name there is none, and nothing is \
             said."
                .to_owned(),
        ),
    )
}

/// A followed table without our triggers; a NOTICE. The extension's owner must run `grant` before
/// the table's owner can run `statements`.
pub fn changes_not_announced(table: &str, grant: Option<&str>, statements: &str) -> Report {
    let first = grant.map_or_else(String::new, |grant| {
        format!("run, as the owner of the extension: {grant} then ")
    });
    notice(
        "changes of the table are not announced".to_owned(),
        &format!(
            "The current role does not own table {table}, or may not use auth.keys_changed(). \
             Sessions look at the table once a second, and at once for an unknown key."
        ),
        Some(format!(
            "To have changes announced, {first}let the table's owner run: {statements};"
        )),
    )
}

/// Triggers on a table that is no longer followed; a NOTICE.
pub fn triggers_left(table: &str) -> Report {
    notice(
        format!("triggers of pg_auth_jwt are left on table {table}"),
        "The current role does not own the table, or another session uses it now. The \
         triggers do no harm.",
        None,
    )
}

/// Roles besides its owner that can write to a followed table; a WARNING. `can`: what they can do by
/// that, after "can".
pub fn other_writers(table: &str, roles: &str, can: &str) -> Report {
    Report::new(
        SqlState::WARNING,
        format!("other roles can write to table {table}"),
    )
    .detail(format!(
        "These roles have rights on it beyond SELECT: {roles}."
    ))
    .hint(format!(
        "Who can write there can {can}. Revoke what is not needed."
    ))
}

/// Rows of a followed table without a usable key; a WARNING. `reasons` are (name, reason) of each.
pub fn odd_rows(table: &str, reasons: &[(String, String)]) -> Report {
    Report::new(
        SqlState::WARNING,
        format!("some rows of table {table} are no usable keys"),
    )
    .detail(reasons_in_lines(reasons))
}

/// A followed table with more rows than are looked through for a count; a WARNING.
pub fn not_all_rows(table: &str, limit: usize) -> Report {
    Report::new(
        SqlState::WARNING,
        format!("table {table} has more than {limit} rows"),
    )
    .detail("The others count as keys, but were not looked at and are not counted.")
}

/// A revocation for an issuer without a row: no token would match it.
pub fn no_issuer_to_revoke(issuer: &str) -> Report {
    Report::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!("auth.issuers has no issuer {}", Excerpt::new(issuer)),
    )
    .detail(
        "The issuer of a revocation is the iss of the tokens, to the letter; nothing was revoked.",
    )
    .hint("SELECT issuer FROM auth.issuers lists the known ones; * stands for any.")
}

/// No claim to select tokens by: a variable without a value must not stand for all tokens.
pub fn no_selector() -> Report {
    Report::new(
        SqlState::NULL_VALUE_NOT_ALLOWED,
        "one of jti, sub, sid and token must be given",
    )
    .detail("NULL selects nothing.")
    .hint(ALL_TOKENS)
}

/// Functions to call for all tokens of an issuer.
const ALL_TOKENS: &str =
    "For all tokens of the issuer there are auth.revoke_issuer() and auth.unrevoke_issuer().";

/// An empty claim.
pub fn selector_is_empty(by: RevokedBy) -> Report {
    invalid(
        format!("{} must not be empty", by.name()),
        None,
        Some(ALL_TOKENS),
    )
}

/// More than one claim to select tokens by.
pub fn several_selectors() -> Report {
    invalid(
        "only one of jti, sub, sid and token can be given".to_owned(),
        Some("A revocation names tokens by one of them.".to_owned()),
        Some("Call the function once for each."),
    )
}

/// A claim that is longer than a revocation can hold.
pub fn value_too_long(by: RevokedBy, limit: usize) -> Report {
    invalid(
        format!("{} is longer than {limit} bytes", by.name()),
        None,
        Some("Revoke such a token by itself: token => ..."),
    )
}

/// A revocation whose end is past; a WARNING.
pub fn revocation_has_ended(end: UnixTime) -> Report {
    Report::new(SqlState::WARNING, "revocation has ended already")
        .detail(format!(
            "Its expires_at, {end}, is past, so that it refuses no token."
        ))
        .hint(
            "Pass the time at which the last of these tokens expires, or NULL for a revocation \
             without end.",
        )
}

/// A token that another issuer has issued.
pub fn token_of_another_issuer(issuer: &str, iss: Option<&str>) -> Report {
    let iss = match iss {
        Some(iss) => format!("Its claim \"iss\" is {}", Excerpt::new(iss)),
        None => "It has no claim \"iss\"".to_owned(),
    };
    invalid(
        format!("token is not of issuer {}", Excerpt::new(issuer)),
        Some(format!("{iss}; nothing was revoked.")),
        None,
    )
}

/// An argument `claim` that names no claim.
pub fn claim_not_acceptable(claim: &str) -> Report {
    invalid(
        format!("claim {} is not acceptable", Excerpt::new(claim)),
        None,
        Some("Name a claim, or the path of one inside of another: '{app_metadata,session_id}'."),
    )
}

/// An issuer without a row, whose sessions are to be followed.
pub fn no_issuer_of_sessions(issuer: &str) -> Report {
    Report::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!("auth.issuers has no issuer {}", Excerpt::new(issuer)),
    )
    .hint("Add its keys first, with auth.follow(), auth.follow_url() or auth.init().")
}

/// A table of sessions that must be scanned for each one.
pub fn no_index_on_sessions(table: &str, column: &str) -> Report {
    Report::new(
        SqlState::WARNING,
        format!(
            "column {} of {} has no index",
            Excerpt::new(column),
            Excerpt::new(table)
        ),
    )
    .detail("Each statement of a user of this issuer reads the whole table.")
    .hint("Create a btree index that begins with this column.")
}
