//! Difference between an issuer's stored keys and its present ones.

use std::collections::{HashMap, HashSet};

use jwt_verify::JwksEntry;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::encoding::ServerText;
use crate::pg::report::Report;
use crate::trust::schema::in_schema;
use crate::trust::sql::{argument, run};
use crate::trust::store::withdrawn::Replacing;

/// Columns that a key keeps when it is stored again: the earliest value of its rows.
#[derive(Clone, Copy, Default)]
struct Times {
    created_at: Option<TimestampWithTimeZone>,
    expires_at: Option<TimestampWithTimeZone>,
}

impl Times {
    fn add(
        &mut self,
        created_at: Option<TimestampWithTimeZone>,
        expires_at: Option<TimestampWithTimeZone>,
    ) {
        self.created_at = self.created_at.into_iter().chain(created_at).min();
        self.expires_at = self.expires_at.into_iter().chain(expires_at).min();
    }
}

/// Difference between an issuer's stored keys and a set of wanted ones. A key is identified by its
/// thumbprint, and has a row for each of its names; if one name differs, all rows are stored again.
pub struct KeyChanges {
    /// Stored as they are wanted.
    unchanged: HashSet<String>,
    /// To be deleted, and maybe stored again.
    replaced: HashMap<String, Times>,
    /// Whether a wanted one is not stored.
    is_any_new: bool,
}

/// The rows of one key.
#[derive(Default)]
struct StoredRows {
    jwks: HashSet<String>,
    times: Times,
}

impl KeyChanges {
    /// Compares them. The JSON of the wanted keys must be as `jsonb` writes it.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn find(client: &SpiClient, issuer: &str, wanted: &[JwksEntry]) -> Result<Self, Report> {
        let mut stored: HashMap<String, StoredRows> = HashMap::new();
        for row in client
            .select(
                in_schema!(
                    "SELECT k.thumbprint, k.jwk::pg_catalog.text, k.created_at, k.expires_at \
                 FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1"
                ),
                None,
                &[argument(issuer)?],
            )
            .map_err(tables_unreadable)?
        {
            let text = |column| -> Result<String, Report> {
                let text: Option<ServerText> = row.get(column).map_err(tables_unreadable)?;
                Ok(text.map_or_else(String::new, |text| text.0))
            };
            let rows = stored.entry(text(1)?).or_default();
            rows.jwks.insert(text(2)?);
            rows.times.add(
                row.get(3).map_err(tables_unreadable)?,
                row.get(4).map_err(tables_unreadable)?,
            );
        }
        let mut wanted_jwks: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (thumbprint, entry) in by_thumbprint(wanted) {
            wanted_jwks
                .entry(thumbprint)
                .or_default()
                .insert(&entry.jwk);
        }
        // All texts were written by jsonb, which writes equal values in the same way.
        let is_unchanged = |thumbprint: &str, rows: &StoredRows| {
            wanted_jwks.get(thumbprint).is_some_and(|wanted| {
                wanted.len() == rows.jwks.len() && wanted.iter().all(|jwk| rows.jwks.contains(*jwk))
            })
        };
        let (unchanged, replaced): (HashMap<_, _>, HashMap<_, _>) = stored
            .into_iter()
            .partition(|(thumbprint, rows)| is_unchanged(thumbprint, rows));
        Ok(Self {
            is_any_new: wanted_jwks
                .keys()
                .any(|thumbprint| !unchanged.contains_key(*thumbprint)),
            unchanged: unchanged.into_keys().collect(),
            replaced: replaced
                .into_iter()
                .map(|(thumbprint, rows)| (thumbprint, rows.times))
                .collect(),
        })
    }

    /// Whether the stored keys are the wanted ones.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && !self.is_any_new
    }

    /// Thumbprints of the keys that are deleted and not stored again.
    pub fn gone(&self, wanted: &[JwksEntry]) -> Vec<&str> {
        let wanted: HashSet<&str> = by_thumbprint(wanted).map(|(name, _)| name).collect();
        let replaced = self.replaced.keys().map(String::as_str);
        replaced.filter(|name| !wanted.contains(name)).collect()
    }

    /// Deletes stored keys that are not in the set, and inserts keys of the set that are not
    /// stored. Writes nothing for keys that are both.
    ///
    /// # Errors
    ///
    /// If the table cannot be written, or refuses a key.
    pub fn apply(
        &self,
        client: &mut SpiClient,
        issuer: &str,
        wanted: &[JwksEntry],
    ) -> Result<(), Report> {
        // All deletions come first: a kid may have moved from one key to another.
        if !self.replaced.is_empty() {
            // Thumbprints are ASCII, which is the same in every encoding.
            let thumbprints: Vec<&str> = self.replaced.keys().map(String::as_str).collect();
            let _replacing = Replacing::begin();
            run(
                client,
                in_schema!(
                    "DELETE FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
                 AND k.thumbprint OPERATOR(pg_catalog.=) ANY ($2)"
                ),
                &[argument(issuer)?, thumbprints.into()],
            )?;
        }
        // In the order of the set, so that two databases with the same set have the same dump.
        for (thumbprint, entry) in by_thumbprint(wanted) {
            if self.unchanged.contains(thumbprint) {
                continue;
            }
            let known = self.replaced.get(thumbprint);
            run(
                client,
                in_schema!(
                    "INSERT INTO @extschema@.jwks (issuer, jwk, created_at, expires_at) \
                 VALUES ($1, $2::pg_catalog.jsonb, coalesce($3, pg_catalog.now()), $4)"
                ),
                &[
                    argument(issuer)?,
                    argument(&entry.jwk)?,
                    known.and_then(|key| key.created_at).into(),
                    known.and_then(|key| key.expires_at).into(),
                ],
            )?;
        }
        Ok(())
    }
}

/// The usable ones of the set, with their thumbprints.
fn by_thumbprint(wanted: &[JwksEntry]) -> impl Iterator<Item = (&str, &JwksEntry)> {
    wanted
        .iter()
        .filter_map(|entry| Some((entry.key.as_ref().ok()?.thumbprint(), entry)))
}
