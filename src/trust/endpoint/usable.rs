//! The keys of an endpoint's answer.

use std::panic::AssertUnwindSafe;

use jwks_fetch::limits::{MAX_BODY_BYTES, MAX_KEYS};
use jwt_verify::{AlgorithmSet, JwksEntry, Key, KeyError, KeyType};
use pgrx::pg_sys;

use crate::errors;
use crate::pg::encoding;
use crate::pg::row;

/// Longest key id that is stored. An entry of the index on issuer and key id has to fit in a third of
/// a page (BTMaxItemSize in src/include/access/nbtree.h), some 2,700 bytes.
const MAX_KID_BYTES: usize = 1_024;

/// What an answer has.
pub struct Usable {
    /// The keys that can be used, with their JSON as `jsonb` writes it.
    pub keys: Vec<JwksEntry>,
    /// Sentences about those that cannot.
    pub note: Option<String>,
}

/// Reads an answer, by the rules of `auth.init`, for an issuer with these algorithms.
///
/// # Errors
///
/// A sentence that says why the whole answer is refused: it is no JWK Set, has too many keys or
/// none that can be used, or publishes a private key or a shared secret.
pub fn read(body: &str, algorithms: AlgorithmSet) -> Result<Usable, String> {
    if body.len() > MAX_BODY_BYTES {
        return Err(format!("The answer is longer than {MAX_BODY_BYTES} bytes."));
    }
    let entries = jwt_verify::read_jwks(body, algorithms)
        .map_err(|error| errors::sentence(&error.to_string()))?;
    if entries.len() > MAX_KEYS {
        return Err(format!("The JWKS has more than {MAX_KEYS} keys."));
    }
    for entry in &entries {
        let is_secret = match &entry.key {
            Ok(key) => key.key_type() == KeyType::Oct,
            Err(error) => error.is_private_key() || matches!(error, KeyError::SymmetricNotAllowed),
        };
        if is_secret {
            return Err(
                "The answer holds a private key or a shared secret; treat it as leaked.".to_owned(),
            );
        }
    }
    let mut keys = Vec::with_capacity(entries.len());
    let mut skipped = Vec::new();
    for entry in entries {
        let name = match &entry.kid {
            Some(kid) => format!("{:?}", errors::shorten(kid)),
            None => format!("number {}", entry.index.saturating_add(1)),
        };
        let is_long = |kid: &String| kid.len() > MAX_KID_BYTES;
        let admitted = match &entry.key {
            Ok(_) if entry.kid.as_ref().is_some_and(is_long) => {
                Err(format!("its key id is longer than {MAX_KID_BYTES} bytes"))
            }
            Ok(_) => as_stored(&entry.jwk, algorithms),
            Err(error) => Err(error.to_string()),
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
    let note = (!skipped.is_empty()).then(|| errors::reasons_in_lines(&skipped).replace('\n', " "));
    if keys.is_empty() {
        let why = note.unwrap_or_else(|| "It holds no keys.".to_owned());
        return Err(format!("The JWKS has no usable key. {why}"));
    }
    Ok(Usable { keys, note })
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
        // What ends the process, or the statement, is no property of the answer.
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
