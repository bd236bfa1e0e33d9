//! The keys of an endpoint's answer.

use std::panic::AssertUnwindSafe;

use jwks_rules::limits::{MAX_BODY_BYTES, MAX_KEYS};
use jwt_verify::{AlgorithmSet, Excerpt, JwksEntry, JwksError, Key, KeyError, KeyType};
use pgrx::pg_sys;

use crate::errors::{reasons_in_lines, sentence};
use crate::pg::encoding;
use crate::pg::row;

/// Longest key id that is stored. An entry of the index on issuer and key id has to fit in a third
/// of a page (BTMaxItemSize in src/include/access/nbtree.h), some 2,700 bytes.
const MAX_KID_BYTES: usize = 1_024;

/// The usable keys of an answer.
pub struct Usable {
    /// The keys, with their JSON as `jsonb` writes it.
    pub keys: Vec<JwksEntry>,
    /// Sentences about the keys that cannot be used.
    pub note: Option<String>,
}

/// Reads an answer by the rules of `auth.init`, for an issuer with these algorithms.
///
/// # Errors
///
/// A sentence that says why the whole answer is refused: it is no JWK Set, has too many keys or
/// none that can be used, or publishes a private key or a shared secret.
pub fn read(body: &str, algorithms: AlgorithmSet) -> Result<Usable, String> {
    if body.len() > MAX_BODY_BYTES {
        return Err(format!("The answer is longer than {MAX_BODY_BYTES} bytes."));
    }
    let entries = jwt_verify::read_jwks(body, algorithms).map_err(|error| no_jwks(body, &error))?;
    if entries.len() > MAX_KEYS {
        return Err(format!("The JWKS has more than {MAX_KEYS} keys."));
    }
    for entry in &entries {
        let is_secret = match &entry.key {
            Ok(key) => key.key_type() == KeyType::Oct,
            Err(error) => error.is_private_key() || matches!(error, KeyError::SymmetricNotAllowed),
        };
        if is_secret {
            return Err(SECRET.to_owned());
        }
    }
    let mut keys = Vec::with_capacity(entries.len());
    let mut skipped = Vec::new();
    for entry in entries {
        let name = match &entry.kid {
            Some(kid) => Excerpt::new(kid).to_string(),
            None => format!("number {}", entry.index.saturating_add(1)),
        };
        let is_long = |kid: &String| kid.len() > MAX_KID_BYTES;
        let admitted = match &entry.key {
            Ok(_) if entry.kid.as_ref().is_some_and(is_long) => {
                Err(format!("its key id is longer than {MAX_KID_BYTES} bytes"))
            }
            Ok(_) => as_stored(&entry.jwk, algorithms),
            Err(error) => Err(reason(error, &entry.jwk)),
        };
        match admitted {
            Ok((jwk, key)) => keys.push(JwksEntry {
                jwk,
                key: Ok(key),
                ..entry
            }),
            Err(reason) => skipped.push((name, reason)),
        }
    }
    let note = (!skipped.is_empty()).then(|| reasons_in_lines(&skipped).replace('\n', " "));
    if keys.is_empty() {
        let why = note.unwrap_or_else(|| NO_KEYS.to_owned());
        return Err(format!("The JWKS has no usable key. {why}"));
    }
    Ok(Usable { keys, note })
}

const SECRET: &str = "The answer holds a private key or a shared secret; treat it as leaked.";

const NO_KEYS: &str = "It holds no keys. An issuer that signs with a shared secret (HS256) publishes none: \
                       have it sign with a key pair.";

/// The reason why an answer is no JWKS, and what it is instead, if that can be told.
fn no_jwks(body: &str, error: &JwksError) -> String {
    match error {
        JwksError::Empty => "The answer is empty.".to_owned(),
        JwksError::WebPage => "The answer is a web page, not a JWKS: it begins with \"<\". Follow the URL that answers \
                           with the keys themselves."
            .to_owned(),
        JwksError::ByteOrderMark => {
            "The answer begins with a byte order mark, which JSON does not have.".to_owned()
        }
        JwksError::Script => "The answer is a script (JSONP?), not JSON.".to_owned(),
        JwksError::Pem => "The answer is in PEM form, and a JWKS is JSON.".to_owned(),
        JwksError::Token => "The answer is a token, not a JWKS.".to_owned(),
        JwksError::Array {
            has_private_key: true,
            ..
        }
        | JwksError::Array {
            has_secret: true, ..
        } => SECRET.to_owned(),
        JwksError::Array { .. } => {
            "The answer is a bare array of keys: a JWKS is an object, {\"keys\": [...]}.".to_owned()
        }
        JwksError::Discovery {
            jwks_uri: Some(jwks_uri),
        } => format!(
            "The answer is a discovery document, not a JWKS: follow the URL of its \"jwks_uri\", {jwks_uri}."
        ),
        JwksError::NotASet if body.trim() == "{}" => {
            format!("The answer is an empty object. {NO_KEYS}")
        }
        JwksError::Discovery { jwks_uri: None }
        | JwksError::Json(_)
        | JwksError::KeysNotAnArray
        | JwksError::NotASet
        | JwksError::TooLong { .. }
        | JwksError::TooManyKeys => sentence(&error.to_string()),
    }
}

/// The reason why a key cannot be used.
fn reason(error: &KeyError, jwk: &str) -> String {
    let KeyError::NotBase64url { member } = error else {
        return error.to_string();
    };
    let members: Option<serde_json::Value> = serde_json::from_str(jwk).ok();
    match members
        .as_ref()
        .and_then(|members| members.get(member)?.as_str())
    {
        Some(text) if text.ends_with('=') => {
            format!("{error}: it is padded with \"=\", which JWKs leave out")
        }
        Some(text) if text.contains(['+', '/']) => {
            format!(
                "{error}: it has \"+\" or \"/\" of ordinary base64, in place of \"-\" and \"_\""
            )
        }
        _ => error.to_string(),
    }
}

/// The JWK as `jsonb` writes it, with its key.
fn as_stored(jwk: &str, algorithms: AlgorithmSet) -> Result<(String, Key), String> {
    const NOT_STORABLE: &str = "the JWK cannot be stored as jsonb in this database";
    let json = encoding::to_server(jwk).ok_or(NOT_STORABLE)?;
    // SAFETY: jsonb_in takes a NUL-terminated string and returns a jsonb. It opens nothing that an
    // error would leave open.
    let stored = pgrx::PgTryBuilder::new(AssertUnwindSafe(|| unsafe {
        let argument = Some(pg_sys::Datum::from(json.as_ptr()));
        let jsonb = pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[argument])?;
        row::json_text(jsonb).ok()
    }))
    .catch_others(|error| match error {
        // An error that ends the process, or the statement, is no property of the answer.
        pg_sys::panic::CaughtError::PostgresError(error)
            if error.sql_error_code() != pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED =>
        {
            None
        }
        other => other.rethrow(),
    })
    .execute();
    let stored = stored.ok_or(NOT_STORABLE)?;
    let key = Key::from_jwk(&stored, algorithms).map_err(|error| error.to_string())?;
    Ok((stored, key))
}
