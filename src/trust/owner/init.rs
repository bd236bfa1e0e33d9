//! `auth.init`: replaces the issuer's whole key set by a JWKS.

use jwt_verify::{AlgorithmSet, Excerpt, JwksEntry, KeyError};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::{argument_is_null, sentence, tables_unreadable};
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::trust::owner::audience;
use crate::trust::owner::errors;
use crate::trust::source::kind::IS_ENDPOINT;
use crate::trust::sql::{argument, run};
use crate::trust::store::admission::algorithms;
use crate::trust::store::changes::KeyChanges;
use crate::trust::store::errors::{issuer_is_followed, private_key};
use crate::trust::store::lock;

sql_function!(
    /// `auth.init(jwks jsonb, issuer text, audience text[]) RETURNS integer`.
    pg_auth_jwt_init,
    |arguments| init(&arguments)
);

fn init(arguments: &Arguments) -> SqlResult {
    let jwks = arguments.json(0)?.ok_or_else(|| argument_is_null("jwks"))?;
    let issuer = arguments
        .text(1)?
        .ok_or_else(|| argument_is_null("issuer"))?;
    let trusted = Spi::connect_mut(|client| {
        let _snapshot = lock::lock_tables("auth.init()")?;
        let audience = || audience(arguments);
        let stored = stored_issuer(client, &issuer, audience())?;
        if stored.as_ref().is_some_and(|stored| stored.is_followed) {
            return Err(issuer_is_followed(
                &issuer,
                stored.is_some_and(|stored| stored.is_fetched),
            ));
        }
        let algorithms = stored
            .as_ref()
            .map_or(AlgorithmSet::ASYMMETRIC, |stored| stored.algorithms);
        let wanted = usable_keys(&jwks, &issuer, algorithms)?;
        let is_checked = arguments.datum(2).is_some()
            || stored.as_ref().is_some_and(|stored| stored.has_audience);
        match stored {
            None => run(
                client,
                "INSERT INTO auth.issuers (issuer, audience) VALUES ($1, $2)",
                &[argument(&issuer)?, audience()],
            )?,
            Some(stored) if stored.has_other_audience => run(
                client,
                "UPDATE auth.issuers AS i SET audience = $2 \
                 WHERE i.issuer OPERATOR(pg_catalog.=) $1",
                &[argument(&issuer)?, audience()],
            )?,
            Some(_) => {}
        }
        KeyChanges::find(client, &issuer, &wanted)?.apply(client, &issuer, &wanted)?;
        if !is_checked {
            report::notice(&errors::audience_not_checked(&issuer));
        }
        trusted_keys(client, &issuer)
    })?;
    Ok(trusted.into_datum())
}

/// The relevant columns of the issuer's row.
struct StoredIssuer {
    algorithms: AlgorithmSet,
    /// Whether an audience is given that differs from the row's.
    has_other_audience: bool,
    /// Whether the row has one.
    has_audience: bool,
    /// Whether its keys come from elsewhere.
    is_followed: bool,
    /// Whether they are fetched from a URL.
    is_fetched: bool,
}

/// `None` if there is no such issuer.
fn stored_issuer(
    client: &SpiClient,
    issuer: &str,
    audience: DatumWithOid,
) -> Result<Option<StoredIssuer>, Report> {
    let query = format!(
        "SELECT i.algorithms::pg_catalog.text[], \
                $2 IS NOT NULL AND i.audience IS DISTINCT FROM $2, \
                i.source IS NOT NULL, i.audience IS NOT NULL, {IS_ENDPOINT} \
         FROM auth.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1"
    );
    let rows = client
        .select(query.as_str(), Some(1), &[argument(issuer)?, audience])
        .map_err(tables_unreadable)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let row = rows.first();
    let names = row.get_datum_by_ordinal(1).map_err(tables_unreadable)?;
    let has_other_audience = row.get::<bool>(2).map_err(tables_unreadable)?;
    let is_followed = row.get::<bool>(3).map_err(tables_unreadable)?;
    let has_audience = row.get::<bool>(4).map_err(tables_unreadable)?;
    let is_fetched = row.get::<bool>(5).map_err(tables_unreadable)?;
    Ok(Some(StoredIssuer {
        // SAFETY: the query gives a text[].
        algorithms: unsafe { algorithms(names) }?,
        has_other_audience: has_other_audience.unwrap_or(true),
        is_followed: is_followed.unwrap_or(true),
        is_fetched: is_fetched.unwrap_or_default(),
        has_audience: has_audience.unwrap_or_default(),
    }))
}

/// The usable keys of the set. The others are named in a WARNING (RFC 7517 §5).
fn usable_keys(
    jwks: &str,
    issuer: &str,
    algorithms: AlgorithmSet,
) -> Result<Vec<JwksEntry>, Report> {
    let entries = jwt_verify::read_jwks(jwks, algorithms)
        .map_err(|error| errors::not_a_jwks(&error, jwks))?;
    // The whole set is refused before single keys are named: whoever published a private key must
    // learn that first.
    if entries
        .iter()
        .any(|entry| matches!(&entry.key, Err(error) if error.is_private_key()))
    {
        return Err(private_key());
    }
    let mut usable = Vec::with_capacity(entries.len());
    let mut reasons = Vec::new();
    let mut has_secret = false;
    for entry in entries {
        match &entry.key {
            Ok(_) => usable.push(entry),
            Err(error) => {
                let name = match &entry.kid {
                    Some(kid) => Excerpt::new(kid).to_string(),
                    None => format!("number {}", entry.index.saturating_add(1)),
                };
                has_secret |= matches!(error, KeyError::SymmetricNotAllowed);
                reasons.push((name, error.to_string()));
            }
        }
    }
    if usable.is_empty() {
        return Err(errors::no_usable_key(
            &reasons,
            has_secret.then_some(issuer),
        ));
    }
    for (name, reason) in reasons {
        report::warn(
            &format!("key {name} of the JWKS was skipped"),
            &sentence(&reason),
        );
    }
    Ok(usable)
}

/// The number of the issuer's keys that are trusted now.
fn trusted_keys(client: &SpiClient, issuer: &str) -> Result<i32, Report> {
    client
        .select(
            "SELECT pg_catalog.count(DISTINCT k.thumbprint)::pg_catalog.int4 FROM auth.jwks AS k \
             WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
             AND (k.expires_at IS NULL OR k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now())",
            Some(1),
            &[argument(issuer)?],
        )
        .and_then(|rows| rows.first().get_one::<i32>())
        .map(Option::unwrap_or_default)
        .map_err(tables_unreadable)
}
