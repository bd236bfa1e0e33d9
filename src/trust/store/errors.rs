//! Errors on writing to the key tables.

use jwt_verify::{Excerpt, KeyError, UnknownAlgorithm};

use crate::errors::{invalid, notice, sentence};
use crate::pg::report::{Report, SqlState};

/// A JWK that is not admitted as a key of `issuer`.
pub fn key_not_usable(error: &KeyError, issuer: &str) -> Report {
    if error.is_private_key() {
        return private_key();
    }
    let hint = matches!(error, KeyError::SymmetricNotAllowed).then(|| name_hmac(issuer));
    invalid(
        "JWK is not acceptable".to_owned(),
        Some(sentence(&error.to_string())),
        hint.as_deref(),
    )
}

/// Statement that allows an issuer to have shared secrets.
pub fn name_hmac(issuer: &str) -> String {
    let issuer = pgrx::spi::quote_literal(issuer);
    format!(
        "Shared secrets are for issuers that name an HMAC algorithm. List each algorithm that \
         the issuer's tokens use: INSERT INTO auth.issuers (issuer, algorithms) VALUES \
         ({issuer}, '{{HS256}}') ON CONFLICT (issuer) DO UPDATE SET algorithms = \
         excluded.algorithms;"
    )
}

/// A JWK with private members.
pub fn private_key() -> Report {
    invalid(
        "JWK holds a private key".to_owned(),
        Some("Verifying takes the public members only; nothing was stored.".to_owned()),
        Some(
            "Load the public JWKS of the issuer, and treat a private key that was published as \
             leaked.",
        ),
    )
}

/// A column of `auth.jwks` that contradicts the JWK's member of the same name.
pub fn column_contradicts_jwk(name: &str) -> Report {
    invalid(
        format!("column \"{name}\" contradicts the JWK"),
        Some(format!("The JWK has a member \"{name}\" of another value.")),
        None,
    )
}

/// A second key of the same kid and type.
pub fn second_key_of_kid() -> Report {
    invalid(
        "JWK is not acceptable".to_owned(),
        Some("The issuer has another key of the same kid and type.".to_owned()),
        None,
    )
}

/// An unknown algorithm in `auth.issuers` (which the table's constraint refuses, too).
pub fn unknown_algorithm(unknown: &UnknownAlgorithm) -> Report {
    invalid(unknown.to_string(), None, None)
}

/// `auth.init` without key tables of the extension.
pub fn no_tables() -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "tables auth.issuers and auth.jwks of pg_auth_jwt were not found",
    )
    .detail("One of them was dropped, renamed or taken out of the extension.")
}

/// A function that writes the key tables, on a server if nothing can be written.
pub fn on_standby(function: &str) -> Report {
    Report::new(
        SqlState::READ_ONLY_SQL_TRANSACTION,
        format!("cannot execute {function} during recovery"),
    )
    .hint("Run it on the primary. This standby uses the keys once it has replayed the change.")
}

/// A function that writes the key tables, in a transaction that the client made read-only.
pub fn in_read_only_transaction(function: &str) -> Report {
    Report::new(
        SqlState::READ_ONLY_SQL_TRANSACTION,
        format!("cannot execute {function} in a read-only transaction"),
    )
    .hint("Run it in a transaction that is READ WRITE.")
}

/// Keys given to an issuer whose keys come from elsewhere.
pub fn issuer_is_followed(issuer: &str, is_fetched: bool) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    let (how, others) = if is_fetched {
        ("fetched from a URL", "the fetched ones")
    } else {
        ("followed in a table", "the table's")
    };
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("keys of issuer {} are {how}", Excerpt::new(issuer)),
    )
    .detail("An issuer's keys come from one source only.")
    .hint(format!(
        "To load keys in place of {others}, run auth.unfollow({quoted}) first."
    ))
}

/// A key that is written by hand for an issuer without a row.
pub fn no_row_of_issuer(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    Report::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!("auth.issuers has no issuer {}", Excerpt::new(issuer)),
    )
    .detail("A key counts for the issuer of its row alone.")
    .hint(format!(
        "Run INSERT INTO auth.issuers (issuer, audience) VALUES ({quoted}, '{{...}}') first, \
         with the aud of its tokens."
    ))
}

/// Another transaction has stored a key that this one's snapshot does not show; in Postgres's words.
pub fn not_serializable() -> Report {
    Report::new(
        SqlState::SERIALIZATION_FAILURE,
        "could not serialize access due to concurrent update",
    )
}

/// A key that is noted as withdrawn for an issuer without a row.
pub fn withdrawn_of_no_issuer(issuer: &str) -> Report {
    Report::new(
        SqlState::WARNING,
        format!("auth.issuers has no issuer {}", Excerpt::new(issuer)),
    )
    .detail("The key stays withdrawn for an issuer of that name alone.")
}

/// Further rows of `auth.jwks` that held a key which was deleted by hand; a NOTICE.
pub fn other_names_deleted(count: usize, issuer: &str) -> Report {
    notice(
        "key was withdrawn under its other names too".to_owned(),
        &format!(
            "Further rows of issuer {} that were deleted from auth.jwks: {count}.",
            Excerpt::new(issuer)
        ),
        None,
    )
}

/// A table whose columns are not those that the extension gave it.
pub fn table_was_altered() -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "columns of the table are not those of auth.jwks",
    )
    .detail("A column is missing, or of another type.")
}

/// A revocation of a kind that does not exist.
pub fn kind_of_revocation(kind: &str) -> Report {
    Report::new(
        SqlState::CHECK_VIOLATION,
        format!("kind {} of a revocation is not known", Excerpt::new(kind)),
    )
    .hint("It is jti, sub, sid, token or issuer.")
}

/// A revocation with a value that no token of its kind has. The value may be a token, so it is not
/// shown.
pub fn value_of_revocation(kind: &str) -> Report {
    let rule = match kind {
        "issuer" => "It is empty for all tokens of the issuer.",
        "token" => "It is the SHA-256 of the token's header and payload, in 64 hexadecimal digits.",
        _ => "It must not be empty.",
    };
    Report::new(
        SqlState::CHECK_VIOLATION,
        format!("value of a revocation of kind {kind} is not acceptable"),
    )
    .detail(rule)
    .hint("auth.revoke() writes it.")
}
