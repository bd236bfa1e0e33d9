//! `auth.follow_url`, which has an issuer's keys fetched from a URL.

use std::time::Duration;

use jwks_rules::{EndpointUrl, HostList, discovery_url};
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::argument_is_null;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::settings;
use crate::trust::fetch::timetable;
use crate::trust::lookup::ANY_ISSUER;
use crate::trust::owner::errors;
use crate::trust::owner::follow;
use crate::trust::owner::{audience, audience_is_checked};
use crate::trust::schema::in_schema;
use crate::trust::source::endpoint::Endpoint;
use crate::trust::source::origin::Origin;
use crate::trust::sql::{self, argument, run};
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::store::lock;
use crate::trust::store::withdrawn::Replacing;

sql_function!(
    /// `auth.follow_url(issuer text, url text, audience text[]) RETURNS void`.
    pg_auth_jwt_follow_url,
    |arguments| follow_url(&arguments)
);

/// Time until the launcher looks for the first fetch.
const SOON: Duration = Duration::from_secs(2);

fn follow_url(arguments: &Arguments) -> SqlResult {
    let issuer = arguments
        .text(0)?
        .ok_or_else(|| argument_is_null("issuer"))?;
    let given = arguments.text(1)?;
    let (endpoint, url) = examine(&issuer, given.as_deref())?;
    Spi::connect_mut(|client| {
        let _snapshot = lock::lock_tables("auth.follow_url()")?;
        let audience = || audience(arguments);
        let stored = StoredIssuer::read_for(client, &issuer, audience())?;
        let is_checked = audience_is_checked(arguments, stored.as_ref());
        let has_other_audience = stored
            .as_ref()
            .is_none_or(|stored| stored.has_other_audience);
        let origin = stored.map_or(Origin::Rows, |stored| stored.origin);
        let former = origin.endpoint();
        // Fetched keys stay until those of another URL have come.
        if former.is_none() {
            let _replacing = Replacing::begin();
            follow::remove_keys(client, &issuer)?;
        }
        if former != Some(&endpoint) || has_other_audience {
            follow::store_source(client, &issuer, audience(), &endpoint.to_json())?;
        }
        begin(client, &issuer, &endpoint, former.is_some())?;
        if let Some(table) = origin.table() {
            follow::remove_triggers(client, table)?;
        }
        if !is_checked {
            report::notice(&errors::audience_of_url_not_checked(&issuer));
        }
        Ok::<(), Report>(())
    })?;
    warn_of_gate(url);
    // Tells the launcher, which looks some seconds later: most transactions have committed by then.
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    timetable::note(database, Some(sql::now().saturating_add(SOON)));
    // As PG_RETURN_VOID.
    Ok(Some(pg_sys::Datum::from(0)))
}

/// The endpoint that the arguments name.
fn examine(issuer: &str, url: Option<&str>) -> Result<(Endpoint, EndpointUrl), Report> {
    let parsed = match url {
        Some(url) => EndpointUrl::parse(url),
        None if issuer == ANY_ISSUER => return Err(errors::no_discovery_of_any()),
        None => discovery_url(issuer),
    };
    let parsed =
        parsed.map_err(|error| errors::url_not_acceptable(&error.to_string(), url.is_none()))?;
    // Stored in its normal form, so that two spellings of one URL are equal.
    let endpoint = Endpoint::new(parsed.as_str());
    if endpoint.discover && issuer == ANY_ISSUER {
        return Err(errors::no_discovery_of_any());
    }
    Ok((endpoint, parsed))
}

/// Writes the row of `auth.endpoints`, whose first fetch is due at once. A row of the same URL
/// stays; a row of another URL keeps only what holds for the new one.
fn begin(
    client: &mut SpiClient,
    issuer: &str,
    endpoint: &Endpoint,
    was_fetched: bool,
) -> Result<(), Report> {
    let arguments = [argument(issuer)?, argument(&endpoint.url)?];
    if !was_fetched {
        run(
            client,
            in_schema!(
                "DELETE FROM @extschema@.endpoints AS e WHERE e.issuer OPERATOR(pg_catalog.=) $1"
            ),
            &[argument(issuer)?],
        )?;
    }
    run(
        client,
        in_schema!(
            "INSERT INTO @extschema@.endpoints AS e (issuer, url) VALUES ($1, $2) \
         ON CONFLICT (issuer) DO UPDATE SET url = excluded.url, jwks_uri = NULL, etag = NULL, \
         etag_digest = NULL, answer_date = NULL, last_modified = NULL, last_attempt = NULL, outcome = NULL, \
         failures = 0, last_error = NULL, note = NULL, next_attempt = NULL, unknown_key_after = NULL, \
         unknown_key_wait = DEFAULT WHERE e.url OPERATOR(pg_catalog.<>) excluded.url"
        ),
        &arguments,
    )
}

/// Warns if the present settings do not allow the URL to be fetched. This is no error: databases
/// are restored, or prepared, on servers with other settings.
fn warn_of_gate(url: EndpointUrl) {
    let list = HostList::read(&settings::fetch_hosts());
    let entry = url.entry();
    if let Err(error) = list.admit(url) {
        report::warning(&errors::host_not_admitted(&error.to_string(), &entry));
    }
}
