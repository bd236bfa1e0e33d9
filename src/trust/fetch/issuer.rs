//! The issuer's row of `auth.issuers`, as the fetching process reads it.

use std::time::Duration;

use jwt_verify::AlgorithmSet;
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::report::Report;
use crate::trust::source::endpoint::Endpoint;
use crate::trust::sql::{First, argument};
use crate::trust::store::admission::algorithms;

/// An issuer whose source is an endpoint.
pub struct FetchedIssuer {
    pub endpoint: Endpoint,
    /// Time for which its keys count without a success; `None`: for ever.
    pub max_stale: Option<Duration>,
    /// Its algorithms; an error if this library does not know one of them.
    pub algorithms: Result<AlgorithmSet, Report>,
}

impl FetchedIssuer {
    /// Reads the row. `None` if there is none, or if its source is no endpoint.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn read(client: &SpiClient, issuer: &str) -> Result<Option<Self>, Report> {
        let query = "SELECT i.source::pg_catalog.text, i.max_stale, i.algorithms::pg_catalog.text[] \
                     FROM auth.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1";
        let found = client.select(query, Some(1), &[argument(issuer)?]);
        let Some(row) = First::of(found.map_err(tables_unreadable)?) else {
            return Ok(None);
        };
        let Some(endpoint) = row.text(1)?.as_deref().and_then(Endpoint::from_json) else {
            return Ok(None);
        };
        Ok(Some(Self {
            endpoint,
            max_stale: row.interval(2)?,
            // SAFETY: the query gives a text[].
            algorithms: unsafe { algorithms(row.datum(3)?) },
        }))
    }
}
