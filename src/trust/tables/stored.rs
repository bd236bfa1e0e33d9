//! A key as a table stores it: `auth.jwks`, or a followed table.

use jwt_verify::limits::MAX_JWK_BYTES;
use jwt_verify::{AlgorithmSet, Key, KeyError, UnixTime};

use crate::pg::row::Unreadable;
use crate::trust::problem::Problem;

/// The columns of a row that describe its key.
pub struct StoredKey {
    pub kid: Option<String>,
    pub jwk: String,
    pub alg: Option<String>,
    /// Time from which on the key is not used, grace included.
    pub valid_until: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
}

/// Longest key id, and longest name of an algorithm, that is read in a followed table.
pub const MAX_NAME_BYTES: usize = 1_024;

/// A row without a usable key.
pub enum OddRow {
    /// Its JWK is NULL.
    NoKey,
    KeyTooLong,
    NameTooLong,
    NotUtf8,
}

impl OddRow {
    /// A row whose JWK cannot be read.
    pub fn of_key(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLong => Self::KeyTooLong,
            Unreadable::NotUtf8 => Self::NotUtf8,
        }
    }

    /// A row whose key id or algorithm cannot be read.
    pub fn of_name(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLong => Self::NameTooLong,
            Unreadable::NotUtf8 => Self::NotUtf8,
        }
    }
}

impl OddRow {
    /// The kind of problem.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoKey => Problem::KeyNull,
            Self::KeyTooLong => Problem::KeyTooLong,
            Self::NameTooLong => Problem::KeyNameTooLong,
            Self::NotUtf8 => Problem::KeyNotUtf8,
        }
    }

    /// The problem, in the words of [`KeyError`].
    pub fn reason(&self) -> String {
        match self {
            Self::NoKey => "the row has no key".to_owned(),
            Self::KeyTooLong => format!("the JWK is longer than {MAX_JWK_BYTES} bytes"),
            Self::NameTooLong => {
                format!("the key id is longer than {MAX_NAME_BYTES} bytes, or the algorithm")
            }
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
