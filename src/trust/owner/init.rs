//! `auth.init`: replaces the issuer's whole key set by a JWKS.

use jwt_verify::{AlgorithmSet, Excerpt, JwksEntry, KeyError};
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::{argument_is_null, sentence, tables_unreadable};
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::trust::owner::errors;
use crate::trust::owner::{audience, audience_is_checked};
use crate::trust::schema::in_schema;
use crate::trust::source::origin::Origin;
use crate::trust::sql::{argument, run};
use crate::trust::store::changes::KeyChanges;
use crate::trust::store::errors::{issuer_is_followed, private_key};
use crate::trust::store::issuer::StoredIssuer;
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
        let stored = StoredIssuer::read_for(client, &issuer, audience())?;
        let is_checked = audience_is_checked(arguments, stored.as_ref());
        let wanted = match stored {
            None => {
                let wanted = usable_keys(&jwks, &issuer, AlgorithmSet::ASYMMETRIC)?;
                run(
                    client,
                    in_schema!(
                        "INSERT INTO @extschema@.issuers (issuer, audience) VALUES ($1, $2)"
                    ),
                    &[argument(&issuer)?, audience()],
                )?;
                wanted
            }
            Some(stored) => {
                if stored.origin != Origin::Rows {
                    let is_fetched = stored.origin.endpoint().is_some();
                    return Err(issuer_is_followed(&issuer, is_fetched));
                }
                let wanted = usable_keys(&jwks, &issuer, stored.algorithms?)?;
                if stored.has_other_audience {
                    run(
                        client,
                        in_schema!(
                            "UPDATE @extschema@.issuers AS i SET audience = $2 \
                         WHERE i.issuer OPERATOR(pg_catalog.=) $1"
                        ),
                        &[argument(&issuer)?, audience()],
                    )?;
                }
                wanted
            }
        };
        KeyChanges::find(client, &issuer, &wanted)?.apply(client, &issuer, &wanted)?;
        if !is_checked {
            report::notice(&errors::audience_not_checked(&issuer));
        }
        trusted_keys(client, &issuer)
    })?;
    Ok(trusted.into_datum())
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
            in_schema!("SELECT pg_catalog.count(DISTINCT k.thumbprint)::pg_catalog.int4 FROM @extschema@.jwks AS k \
             WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
             AND (k.expires_at IS NULL OR k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now())"),
            Some(1),
            &[argument(issuer)?],
        )
        .and_then(|rows| rows.first().get_one::<i32>())
        .map(Option::unwrap_or_default)
        .map_err(tables_unreadable)
}
