//! A key as a table holds it: `auth.jwks`, or a followed one.

use jwt_verify::limits::MAX_JWK_BYTES;
use jwt_verify::{AlgorithmSet, Key, KeyError, UnixTime};

use crate::pg::row::JsonUnreadable;

/// What a row says of its key.
pub struct StoredKey {
    pub kid: Option<String>,
    pub jwk: String,
    pub alg: Option<String>,
    /// From when on the key does not count, grace included.
    pub valid_until: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
}

/// A row that is no key.
pub enum OddRow {
    /// Its JWK is NULL.
    NoKey,
    TooLong,
    NotUtf8,
}

impl From<JsonUnreadable> for OddRow {
    fn from(unreadable: JsonUnreadable) -> Self {
        match unreadable {
            JsonUnreadable::TooLong => Self::TooLong,
            JsonUnreadable::NotUtf8 => Self::NotUtf8,
        }
    }
}

impl OddRow {
    /// What is odd, in the words of [`KeyError`]'s.
    pub fn reason(&self) -> String {
        match self {
            Self::NoKey => "the row has no key".to_owned(),
            Self::TooLong => format!("the JWK is longer than {MAX_JWK_BYTES} bytes"),
            Self::NotUtf8 => "text cannot be converted to UTF-8".to_owned(),
        }
    }
}

impl StoredKey {
    /// The key, for an issuer with these algorithms.
    ///
    /// # Errors
    ///
    /// As for [`Key::from_jwk`].
    pub fn admit(&self, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
        match &self.alg {
            Some(alg) => Key::from_jwk_with_alg(&self.jwk, alg, algorithms),
            None => Key::from_jwk(&self.jwk, algorithms),
        }
    }
}
