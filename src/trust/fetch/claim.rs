//! The claim of a fetch: the first transaction of the refreshing process.
//!
//! It notes in the issuer's row of `auth.endpoints` that a fetch has begun, so that no second
//! process fetches too, and reads what the fetch needs.

use std::time::Duration;

use jwks_rules::schedule::{self, CLAIM};
use jwt_verify::UnixTime;
use pgrx::datum::{DatumWithOid, IntoDatum};
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::encoding;
use crate::pg::report::Report;
use crate::trust::source::endpoint::Endpoint;
use crate::trust::source::kind::IS_ENDPOINT;
use crate::trust::sql::{self, First, argument, run, text_argument, time_argument};
use crate::trust::tables::progress::Progress;

/// Why a process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The next fetch was due.
    Due,
    /// A token named an unknown key.
    Early,
    /// `auth.refresh`.
    Asked,
}

/// A fetch that has begun.
pub struct Claim {
    pub issuer: String,
    pub endpoint: Endpoint,
    pub reason: Reason,
    /// When it began, as in `last_attempt`: tells this claim from later ones.
    pub began: UnixTime,
    /// The stored answer's, where the rows are still as they were stored then.
    pub etag: Option<String>,
    pub before: Before,
}

/// How the row was before.
#[derive(Default)]
pub struct Before {
    pub failures: i32,
    pub last_success: Option<UnixTime>,
    /// From when on the keys do not count; `None`: no limit, or they were never fetched.
    pub trust_end: Option<UnixTime>,
    pub last_attempt: Option<UnixTime>,
    pub answer_date: Option<UnixTime>,
    pub last_modified: Option<UnixTime>,
    pub unknown_key_wait: Duration,
}

/// What tells an issuer, whose name can be of any length, to a process: the SHA-256 of the name.
pub type Tag = [u8; 32];

/// The issuer's tag; `None` where the name has characters that the server's encoding lacks.
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
        "SELECT i.issuer FROM auth.issuers AS i \
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

/// The issuers that are fetched: when each is due, whether that is now, and whether this process has
/// tried it already ($1 has the tags of those).
fn timetable() -> String {
    format!(
        "SELECT i.issuer, e.next_attempt, \
                (e.next_attempt IS NULL \
                 OR e.next_attempt OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() \
                 OR e.next_attempt OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() \
                    OPERATOR(pg_catalog.+) '66 min'::pg_catalog.interval)) AS is_due, \
                {TAG} OPERATOR(pg_catalog.=) ANY ($1) AS was_tried \
         FROM auth.issuers AS i LEFT JOIN auth.endpoints AS e \
             ON e.issuer OPERATOR(pg_catalog.=) i.issuer \
         WHERE i.enabled AND {IS_ENDPOINT}"
    )
}

fn tags(tried: &[Tag]) -> DatumWithOid<'_> {
    let tags: Vec<&[u8]> = tried.iter().map(Tag::as_slice).collect();
    tags.into()
}

/// The issuer that has been due for the longest time, if one is due that was not tried yet.
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
    /// When the next fetch is due, without those that are stuck; `None`: never.
    pub next: Option<UnixTime>,
    /// Whether an issuer was tried and is due all the same: its fetch could not be claimed, or what came
    /// of it not be written.
    pub is_stuck: bool,
}

/// Looks what is left to fetch, after these were tried.
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

/// A digest of all that decides which keys of an answer are stored. Where it differs from what it
/// was when an answer was stored, a server that says "not modified" says nothing about the rows.
const DIGEST: &str = "pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', \
     i.source::pg_catalog.text, i.algorithms::pg_catalog.text, \
     (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', k.kid, k.jwk::pg_catalog.text), ' ' \
             ORDER BY k.thumbprint, k.kid, k.jwk::pg_catalog.text COLLATE pg_catalog.\"C\") FROM auth.jwks AS k \
      WHERE k.issuer OPERATOR(pg_catalog.=) i.issuer), '/', \
     (SELECT pg_catalog.string_agg(w.thumbprint, ' ' ORDER BY w.thumbprint) \
      FROM auth.withdrawn_keys AS w WHERE w.issuer OPERATOR(pg_catalog.=) i.issuer)) \
     COLLATE pg_catalog.\"C\", 0)::pg_catalog.text";

/// The digest for the issuer.
pub fn digest(client: &SpiClient, issuer: &str) -> Result<Option<String>, Report> {
    let query =
        format!("SELECT {DIGEST} FROM auth.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1");
    let found = client
        .select(query.as_str(), Some(1), &[argument(issuer)?])
        .map_err(tables_unreadable)?;
    First::of(found).map_or(Ok(None), |row| row.text(1))
}

/// Claims a fetch; `None` where there is nothing to do: the issuer is gone, or has no endpoint, or
/// another process was faster, or the claim could not be written.
pub fn take(client: &mut SpiClient, issuer: &str, reason: Reason) -> Result<Option<Claim>, Report> {
    let found = client
        .select(
            "SELECT i.source::pg_catalog.text, i.max_stale FROM auth.issuers AS i \
             WHERE i.issuer OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[argument(issuer)?],
        )
        .map_err(tables_unreadable)?;
    let Some(row) = First::of(found) else {
        return Ok(None);
    };
    let max_stale = row.interval(2)?;
    let Some(endpoint) = row.text(1)?.as_deref().and_then(Endpoint::from_json) else {
        return Ok(None);
    };
    let names = [argument(issuer)?, argument(&endpoint.url)?];
    // Waits for a transaction that deletes the issuer, and then inserts nothing.
    run(
        client,
        "INSERT INTO auth.endpoints (issuer, url) \
         SELECT i.issuer, $2 FROM auth.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1 \
             AND NOT EXISTS (SELECT FROM auth.endpoints AS e \
                 WHERE e.issuer OPERATOR(pg_catalog.=) i.issuer) \
         FOR KEY SHARE OF i ON CONFLICT DO NOTHING",
        &names,
    )?;
    // Waits for a process that is claiming it too, and sees what that has written. FOR UPDATE takes
    // a statement that may write.
    let found = client
        .update(
            "SELECT e.url, e.etag, e.etag_digest, e.failures, e.last_success, e.last_attempt, \
                    e.next_attempt, e.unknown_key_after, e.unknown_key_wait, e.outcome, e.answer_date, e.last_modified \
             FROM auth.endpoints AS e WHERE e.issuer OPERATOR(pg_catalog.=) $1 FOR UPDATE",
            Some(1),
            &[argument(issuer)?],
        )
        .map_err(tables_unreadable)?;
    let Some(row) = First::of(found) else {
        return Ok(None);
    };
    let now = sql::now();
    let progress = Progress {
        last_attempt: row.time(6)?,
        next_attempt: row.time(7)?,
        unknown_key_after: row.time(8)?,
        outcome: row.text(10)?,
        ..Progress::default()
    };
    // What the row says is about another URL where somebody wrote the source by hand.
    let is_same = row.text(1)?.as_deref() == Some(endpoint.url.as_str());
    let is_wanted = !is_same
        || match reason {
            Reason::Due => progress.is_due(now),
            Reason::Early => progress.may_be_early(now),
            Reason::Asked => true,
        };
    if !is_wanted || (is_same && progress.is_running(now)) {
        return Ok(None);
    }
    let seconds = u64::try_from(row.integer(9)?.unwrap_or(0)).unwrap_or(0);
    let unknown_key_wait =
        Duration::from_secs(seconds).clamp(schedule::MIN_EARLY, schedule::MAX_EARLY);
    let (etag, etag_digest) = (row.text(2)?, row.text(3)?);
    let last_success = row.time(5)?;
    // Where the clock was set back, times that were noted before lie in the future. They become the
    // present, which limits how long the keys still count. Dates have whole seconds.
    let second = UnixTime::from_seconds(now.as_micros().div_euclid(1_000_000));
    let trust_end = last_success
        .zip(max_stale)
        .map(|(last, length)| last.min(now).saturating_add(length));
    let before = if is_same {
        Before {
            failures: row.integer(4)?.unwrap_or(0).max(0),
            last_success,
            trust_end,
            last_attempt: progress.last_attempt,
            answer_date: row.time(11)?.map(|time| time.min(second)),
            last_modified: row.time(12)?.map(|time| time.min(second)),
            unknown_key_wait,
        }
    } else {
        Before {
            last_success,
            trust_end,
            unknown_key_wait: schedule::MIN_EARLY,
            ..Before::default()
        }
    };
    let is_current = is_same && etag_digest.is_some() && digest(client, issuer)? == etag_digest;
    let unknown_key_after = match reason {
        Reason::Early => Some(now.saturating_add(before.unknown_key_wait)),
        Reason::Due | Reason::Asked => progress.unknown_key_after.filter(|_| is_same),
    };
    let seconds = i32::try_from(before.unknown_key_wait.as_secs()).unwrap_or(i32::MAX);
    let arguments: [DatumWithOid; 9] = [
        argument(issuer)?,
        argument(&endpoint.url)?,
        time_argument(Some(now)),
        // Where this process is killed, the fetch is due again then.
        time_argument(Some(now.saturating_add(CLAIM))),
        time_argument(unknown_key_after),
        seconds.into(),
        before.failures.into(),
        text_argument(etag.as_deref().filter(|_| is_same))?,
        time_argument(Some(second)),
    ];
    let claimed = client.update(
        "UPDATE auth.endpoints AS e SET url = $2, last_attempt = $3, next_attempt = $4, \
                unknown_key_after = $5, unknown_key_wait = $6, failures = $7, etag = $8, outcome = NULL, \
                jwks_uri = CASE WHEN e.url OPERATOR(pg_catalog.=) $2 THEN e.jwks_uri END, \
                last_success = CASE WHEN e.last_success IS NOT NULL \
                    THEN least(e.last_success, $3) END, \
                answer_date = CASE WHEN e.url OPERATOR(pg_catalog.=) $2 \
                    AND e.answer_date IS NOT NULL THEN least(e.answer_date, $9) END, \
                last_modified = CASE WHEN e.url OPERATOR(pg_catalog.=) $2 \
                    AND e.last_modified IS NOT NULL THEN least(e.last_modified, $9) END \
         WHERE e.issuer OPERATOR(pg_catalog.=) $1 RETURNING true",
        None,
        &arguments,
    );
    // A trigger of the owner's may have suppressed it. A fetch without a claim would be repeated at once.
    if claimed.map_err(tables_unreadable)?.is_empty() {
        return Ok(None);
    }
    let discover = endpoint.discover;
    Ok(Some(Claim {
        issuer: issuer.to_owned(),
        endpoint,
        reason,
        began: now,
        // An ETag is of one URL (RFC 9110 section 8.8.3), and a discovery document may name another
        // one each time.
        etag: etag.filter(|_| is_current && !discover),
        before,
    }))
}
