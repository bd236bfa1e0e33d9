//! The issuer's row of `auth.issuers`, as writers of the key tables read it.

use std::time::Duration;

use jwt_verify::AlgorithmSet;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{SpiClient, SpiTupleTable};

use crate::errors::tables_unreadable;
use crate::pg::report::Report;
use crate::pg::row;
use crate::trust::schema::SCHEMA;
use crate::trust::source::origin::Origin;
use crate::trust::sql::{First, argument};
use crate::trust::store::errors;

/// An issuer's row.
pub struct StoredIssuer {
    /// Its algorithms; an error if this library does not know one of them.
    pub algorithms: Result<AlgorithmSet, Report>,
    /// The origin of its keys.
    pub origin: Origin,
    /// Time for which fetched keys count without a success; `None`: for ever.
    pub max_stale: Option<Duration>,
    /// Whether the audience is checked.
    pub has_audience: bool,
    /// Whether an audience is given that differs from the row's.
    pub has_other_audience: bool,
}

impl StoredIssuer {
    /// Reads the row of this name, and compares its audience with a given one, if it is not NULL.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn read_for(
        client: &SpiClient,
        issuer: &str,
        audience: DatumWithOid,
    ) -> Result<Option<Self>, Report> {
        let arguments = [argument(issuer)?, audience];
        let found = client.select(query("").as_str(), Some(1), &arguments);
        Self::of(found.map_err(tables_unreadable)?)
    }

    /// Reads the row of this name.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn read(client: &SpiClient, issuer: &str) -> Result<Option<Self>, Report> {
        Self::read_for(client, issuer, no_audience())
    }

    /// Reads the row of this name. Waits for a transaction that deletes or renames it, and keeps
    /// others from that until this one ends, as a foreign key would.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn lock(client: &mut SpiClient, issuer: &str) -> Result<Option<Self>, Report> {
        // FOR KEY SHARE needs a statement that may write.
        let query = query("FOR KEY SHARE OF i");
        let arguments = [argument(issuer)?, no_audience()];
        let found = client.update(query.as_str(), Some(1), &arguments);
        Self::of(found.map_err(tables_unreadable)?)
    }

    fn of(found: SpiTupleTable) -> Result<Option<Self>, Report> {
        let Some(row) = First::of(found) else {
            return Ok(None);
        };
        Ok(Some(Self {
            // SAFETY: the query gives a text[].
            algorithms: unsafe { algorithms(row.datum(1)?) },
            origin: Origin::of(row.text(2)?.as_deref()),
            max_stale: row.interval(3)?,
            has_audience: row.truth(4)?,
            has_other_audience: row.truth(5)?,
        }))
    }
}

fn query(lock: &str) -> String {
    format!(
        "SELECT i.algorithms::pg_catalog.text[], i.source::pg_catalog.text, i.max_stale, \
                i.audience IS NOT NULL, $2 IS NOT NULL AND i.audience IS DISTINCT FROM $2 \
         FROM {SCHEMA}.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1 {lock}"
    )
}

fn no_audience() -> DatumWithOid<'static> {
    DatumWithOid::null_oid(pg_sys::TEXTARRAYOID)
}

/// An issuer's column `algorithms` as a set.
///
/// # Safety
///
/// `names` must be the datum of a `text[]`.
unsafe fn algorithms(names: Option<pg_sys::Datum>) -> Result<AlgorithmSet, Report> {
    let Some(names) = names else {
        return Ok(AlgorithmSet::ASYMMETRIC);
    };
    // SAFETY: as the caller promises.
    let names = unsafe { row::strings(names) }?;
    AlgorithmSet::from_names(names.iter().map(String::as_str))
        .map_err(|unknown| errors::unknown_algorithm(&unknown))
}
