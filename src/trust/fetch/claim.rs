//! The claim of a fetch: the first transaction of the fetching process.
//!
//! It notes in the issuer's row of `auth.endpoints` that a fetch has begun, so that no second
//! process fetches too, and reads what the fetch needs.

use jwks_rules::fetch_state::{self, IssuerRow, Reason};
use jwks_rules::schedule::LONGEST;
use jwt_verify::UnixTime;
use pgrx::datum::{DatumWithOid, IntoDatum};
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::encoding;
use crate::pg::report::Report;
use crate::trust::schema::{SCHEMA, in_schema};
use crate::trust::source::endpoint::Endpoint;
use crate::trust::source::kind::IS_ENDPOINT;
use crate::trust::source::origin::Origin;
use crate::trust::sql::{self, First, argument, run};
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::tables::endpoints;

/// A fetch that has begun.
pub struct Claim {
    pub issuer: String,
    pub endpoint: Endpoint,
    pub fetch: fetch_state::Claim,
}

/// Identifies an issuer in the few bytes that a process is started with: the SHA-256 of its name.
pub type Tag = [u8; 32];

/// The issuer's tag; `None` if the name has characters that the server's encoding lacks.
pub fn tag_of(issuer: &str) -> Option<Tag> {
    let name = encoding::to_server(issuer)?;
    // SAFETY: the function takes and returns a bytea.
    let tag: Option<Vec<u8>> = unsafe {
        pgrx::direct_function_call(pgrx::pg_sys::sha256_bytea, &[name.as_bytes().into_datum()])
    };
    tag?.try_into().ok()
}

/// The name of the endpoint's issuer with this tag, if there is one.
pub fn issuer_of(client: &SpiClient, tag: Tag) -> Result<Option<String>, Report> {
    let query = format!(
        "SELECT i.issuer FROM {SCHEMA}.issuers AS i \
         WHERE {TAG} OPERATOR(pg_catalog.=) $1 AND {IS_ENDPOINT}"
    );
    let found = client
        .select(query.as_str(), Some(1), &[tag.as_slice().into()])
        .map_err(tables_unreadable)?;
    First::of(found).map_or(Ok(None), |row| row.text(1))
}

/// [`tag_of`] in SQL.
const TAG: &str = "pg_catalog.sha256(pg_catalog.convert_to( \
     i.issuer, pg_catalog.getdatabaseencoding()))";

/// Query for the issuers that are fetched: the time at which each is due, whether that is now, and
/// whether this process has tried it already ($1 has the tags of those that it has tried).
fn timetable() -> String {
    format!(
        "SELECT i.issuer, e.next_attempt, \
                (e.next_attempt IS NULL \
                 OR e.next_attempt OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() \
                 OR e.next_attempt OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() \
                    OPERATOR(pg_catalog.+) '{longest} s'::pg_catalog.interval)) AS is_due, \
                {TAG} OPERATOR(pg_catalog.=) ANY ($1) AS was_tried \
         FROM {SCHEMA}.issuers AS i LEFT JOIN {SCHEMA}.endpoints AS e \
             ON e.issuer OPERATOR(pg_catalog.=) i.issuer \
         WHERE i.enabled AND {IS_ENDPOINT}",
        longest = LONGEST.as_secs()
    )
}

fn tags(tried: &[Tag]) -> DatumWithOid<'_> {
    let tags: Vec<&[u8]> = tried.iter().map(Tag::as_slice).collect();
    tags.into()
}

/// The issuer that has been due for the longest time, of those that were not tried yet.
pub fn next_due(client: &SpiClient, tried: &[Tag]) -> Result<Option<String>, Report> {
    let query = format!(
        "SELECT t.issuer FROM ({}) AS t WHERE t.is_due AND NOT t.was_tried \
         ORDER BY t.next_attempt NULLS FIRST LIMIT 1",
        timetable()
    );
    let found = client
        .select(query.as_str(), Some(1), &[tags(tried)])
        .map_err(tables_unreadable)?;
    First::of(found).map_or(Ok(None), |row| row.text(1))
}

/// Fetches that are left in the database.
#[derive(Default)]
pub struct Outlook {
    /// Whether an issuer is due that was not tried yet.
    pub is_due: bool,
    /// Time at which the next fetch is due, without those that are stuck; `None`: never.
    pub next: Option<UnixTime>,
    /// Whether an issuer was tried and is still due: its fetch could not be claimed, or its end not
    /// be written.
    pub is_stuck: bool,
}

/// Finds the fetches that are left, after these were tried.
pub fn outlook(client: &SpiClient, tried: &[Tag]) -> Result<Outlook, Report> {
    let query = format!(
        "SELECT pg_catalog.count(*) FILTER (WHERE t.is_due AND NOT t.was_tried)::pg_catalog.int4, \
                pg_catalog.min(CASE WHEN t.is_due THEN pg_catalog.now() ELSE t.next_attempt END) \
                    FILTER (WHERE NOT (t.is_due AND t.was_tried)), \
                pg_catalog.count(*) FILTER (WHERE t.is_due AND t.was_tried)::pg_catalog.int4 \
         FROM ({}) AS t",
        timetable()
    );
    let found = client
        .select(query.as_str(), Some(1), &[tags(tried)])
        .map_err(tables_unreadable)?;
    let Some(row) = First::of(found) else {
        return Ok(Outlook::default());
    };
    Ok(Outlook {
        is_due: row.integer(1)?.unwrap_or(0) > 0,
        next: row.time(2)?,
        is_stuck: row.integer(3)?.unwrap_or(0) > 0,
    })
}

/// A digest of the issuer's keys, and of the rules by which an answer's keys are stored. If it
/// differs from the one that was noted with an answer, "not modified" says nothing about the stored
/// keys.
const DIGEST: &str = in_schema!(
    "pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', \
     i.source::pg_catalog.text, i.algorithms::pg_catalog.text, \
     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', k.kid, k.jwk::pg_catalog.text), ' ' \
             ORDER BY k.thumbprint, k.kid, k.jwk::pg_catalog.text COLLATE pg_catalog.\"C\") FROM @extschema@.jwks AS k \
      WHERE k.issuer OPERATOR(pg_catalog.=) i.issuer), '/', \
     (SELECT pg_catalog.string_agg(w.thumbprint, ' ' ORDER BY w.thumbprint) \
      FROM @extschema@.withdrawn_keys AS w WHERE w.issuer OPERATOR(pg_catalog.=) i.issuer)) \
     COLLATE pg_catalog.\"C\", 0)::pg_catalog.text"
);

/// The digest for the issuer.
pub fn digest(client: &SpiClient, issuer: &str) -> Result<Option<String>, Report> {
    let query = format!(
        "SELECT {DIGEST} FROM {SCHEMA}.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1"
    );
    let found = client
        .select(query.as_str(), Some(1), &[argument(issuer)?])
        .map_err(tables_unreadable)?;
    First::of(found).map_or(Ok(None), |row| row.text(1))
}

/// Claims a fetch. `None` if there is nothing to do: the issuer is gone, or has no endpoint, or
/// another process was faster, or the claim could not be written.
pub fn take(client: &mut SpiClient, issuer: &str, reason: Reason) -> Result<Option<Claim>, Report> {
    let Some(StoredIssuer {
        origin: Origin::Endpoint(endpoint),
        ..
    }) = StoredIssuer::read(client, issuer)?
    else {
        return Ok(None);
    };
    let names = [argument(issuer)?, argument(&endpoint.url)?];
    // Waits for a transaction that deletes the issuer, and then inserts nothing.
    run(
        client,
        in_schema!(
            "INSERT INTO @extschema@.endpoints (issuer, url) \
         SELECT i.issuer, $2 FROM @extschema@.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1 \
             AND NOT EXISTS (SELECT FROM @extschema@.endpoints AS e \
                 WHERE e.issuer OPERATOR(pg_catalog.=) i.issuer) \
         FOR KEY SHARE OF i ON CONFLICT DO NOTHING"
        ),
        &names,
    )?;
    let Some(row) = endpoints::lock(client, issuer)? else {
        return Ok(None);
    };
    // During the wait for the lock the issuer may have got another source.
    let Some(StoredIssuer {
        origin: Origin::Endpoint(endpoint),
        max_stale,
        ..
    }) = StoredIssuer::read(client, issuer)?
    else {
        return Ok(None);
    };
    let rules = IssuerRow {
        url: endpoint.url.clone(),
        discover: endpoint.discover,
        max_stale,
    };
    let Some(mut fetch) = fetch_state::claim(row, &rules, reason, sql::now()) else {
        return Ok(None);
    };
    if fetch.has_etag() {
        fetch.send_etag(digest(client, issuer)?.as_deref());
    }
    // A fetch without a claim would be repeated at once.
    if !endpoints::write(client, issuer, fetch.row.clone())? {
        return Ok(None);
    }
    Ok(Some(Claim {
        issuer: issuer.to_owned(),
        endpoint,
        fetch,
    }))
}
