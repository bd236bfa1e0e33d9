//! Origin of an issuer's keys, as the column `source` of its row says.

use crate::trust::source::endpoint::Endpoint;
use crate::trust::source::table::Source;

/// Origin of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Rows of `auth.jwks` that `auth.init` or plain SQL has written.
    Rows,
    /// A followed table.
    Table(Box<Source>),
    /// A URL; the keys are rows of `auth.jwks` that were fetched.
    Endpoint(Endpoint),
    /// A source that cannot be read.
    Unreadable,
}

impl Origin {
    /// Reads the column's JSON.
    pub fn of(source: Option<&str>) -> Self {
        let Some(json) = source else {
            return Self::Rows;
        };
        let endpoint = Endpoint::from_json(json).map(Self::Endpoint);
        let table = || Source::from_json(json).map(|source| Self::Table(Box::new(source)));
        endpoint.or_else(table).unwrap_or(Self::Unreadable)
    }

    /// The followed table, if it is one.
    pub fn table(&self) -> Option<&Source> {
        match self {
            Self::Table(source) => Some(source),
            Self::Rows | Self::Endpoint(_) | Self::Unreadable => None,
        }
    }

    /// The endpoint, if it is one.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Rows | Self::Table(_) | Self::Unreadable => None,
        }
    }
}
