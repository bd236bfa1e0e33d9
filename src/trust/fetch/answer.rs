//! The storing of an answer: the second transaction of the fetching process.

use std::collections::HashSet;

use jwks_rules::fetch_state::{self, End, Event};
use jwks_rules::wire::{Answer, Roots};
use jwt_verify::{Excerpt, JwksEntry};
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::attempt::Failure;
use crate::pg::encoding::ServerText;
use crate::pg::report::{self, Report, SqlState};
use crate::trust::fetch::claim::{self, Claim};
use crate::trust::fetch::usable;
use crate::trust::schema::in_schema;
use crate::trust::sql::{self, argument, run};
use crate::trust::store::changes::KeyChanges;
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::store::lock;
use crate::trust::store::withdrawn::Replacing;
use crate::trust::tables::endpoints;

/// Stores an answer. It is thrown away if the issuer is gone, or has another source by now.
///
/// # Errors
///
/// If the tables cannot be read or written.
pub fn store(client: &mut SpiClient, claim: &Claim, answer: &Answer) -> Result<(), Report> {
    match claim.fetch.end_without_keys(answer) {
        None => fetched(client, claim, answer),
        Some(end) => match current_issuer(client, claim)? {
            Some(_) => finish(client, claim, end),
            None => Ok(()),
        },
    }
}

/// Notes that the transaction of [`store`] failed, as a failed fetch.
///
/// # Errors
///
/// If `auth.endpoints` cannot be written.
pub fn not_stored(client: &mut SpiClient, claim: &Claim, why: &Failure) -> Result<(), Report> {
    /// `lock_not_available`: the process's own `lock_timeout`.
    const LOCKED: SqlState = SqlState::LOCK_NOT_AVAILABLE;
    let message = if why.is(LOCKED) {
        "the answer could not be stored, because another transaction, maybe a prepared one, has \
         written auth.issuers, auth.jwks or auth.endpoints, or has locked it, and has not ended"
            .to_owned()
    } else {
        format!("the answer could not be stored: {why}")
    };
    finish(client, claim, End::failed(&message))
}

/// The issuer, if it still has the source that was fetched from.
fn current_issuer(client: &SpiClient, claim: &Claim) -> Result<Option<StoredIssuer>, Report> {
    let issuer = StoredIssuer::read(client, &claim.issuer)?;
    Ok(issuer.filter(|issuer| issuer.origin.endpoint() == Some(&claim.endpoint)))
}

/// The digest of the stored keys, if the answer has an ETag to be noted with it.
fn digest(client: &SpiClient, claim: &Claim, answer: &Answer) -> Result<Option<String>, Report> {
    match &answer.etag {
        Some(_) => claim::digest(client, &claim.issuer),
        None => Ok(None),
    }
}

/// Stores the keys of an answer, if they differ from the stored ones.
fn fetched(client: &mut SpiClient, claim: &Claim, answer: &Answer) -> Result<(), Report> {
    // Read before anything else: keys and rules that change later differ from it, so the next fetch
    // asks for the keys and not whether they were modified.
    let former_digest = digest(client, claim, answer)?;
    let Some(issuer) = current_issuer(client, claim)? else {
        return Ok(());
    };
    let wanted = match Wanted::of(client, claim, answer, issuer)? {
        Ok(wanted) => wanted,
        Err(message) => return finish(client, claim, End::failed(&message)),
    };
    if KeyChanges::find(client, &claim.issuer, &wanted.keys)?.is_empty() {
        let end = End::Stored {
            answer,
            changed: false,
            note: wanted.note,
            digest: former_digest,
        };
        return finish(client, claim, end);
    }
    if claim.fetch.is_outdated(answer) {
        return finish(client, claim, End::Outdated);
    }
    let _snapshot = lock::lock_tables("auth.refresh()")?;
    // The row is locked after the tables, as in auth.follow_url.
    let row = endpoints::lock(client, &claim.issuer)?;
    if !row.is_some_and(|row| claim.fetch.holds(&row)) {
        return Ok(());
    }
    // During the wait for the locks the source, the rules and the withdrawn keys may have changed.
    let Some(issuer) = current_issuer(client, claim)? else {
        return Ok(());
    };
    let wanted = match Wanted::of(client, claim, answer, issuer)? {
        Ok(wanted) => wanted,
        Err(message) => return finish(client, claim, End::failed(&message)),
    };
    let changes = KeyChanges::find(client, &claim.issuer, &wanted.keys)?;
    {
        let _replacing = Replacing::begin();
        keep_ended(client, claim, &changes.gone(&wanted.keys))?;
        changes.apply(client, &claim.issuer, &wanted.keys)?;
    }
    let end = End::Stored {
        answer,
        changed: !changes.is_empty(),
        note: wanted.note,
        digest: digest(client, claim, answer)?,
    };
    finish(client, claim, end)
}

/// Notes as withdrawn those of the deleted keys whose `expires_at` was set by hand; no fetched key
/// has another one. Else they would come back without it, once the endpoint lists them again.
fn keep_ended(client: &mut SpiClient, claim: &Claim, gone: &[&str]) -> Result<(), Report> {
    if gone.is_empty() {
        return Ok(());
    }
    run(
        client,
        in_schema!(
            "INSERT INTO @extschema@.withdrawn_keys (issuer, thumbprint) \
         SELECT k.issuer, k.thumbprint FROM @extschema@.jwks AS k \
         WHERE k.issuer OPERATOR(pg_catalog.=) $1 AND k.expires_at IS NOT NULL \
         AND k.thumbprint OPERATOR(pg_catalog.=) ANY ($2) ON CONFLICT DO NOTHING"
        ),
        &[argument(&claim.issuer)?, gone.to_vec().into()],
    )
}

/// The keys of an answer to be stored.
struct Wanted {
    keys: Vec<JwksEntry>,
    /// Sentences about what was left out, and about the answer.
    note: Option<String>,
}

impl Wanted {
    /// Chooses them by the issuer's rules. The inner error is a sentence that says why the answer
    /// is refused.
    fn of(
        client: &SpiClient,
        claim: &Claim,
        answer: &Answer,
        issuer: StoredIssuer,
    ) -> Result<Result<Self, String>, Report> {
        let found = match usable::read(&answer.body, issuer.algorithms?) {
            Ok(found) => found,
            Err(message) => return Ok(Err(message)),
        };
        let mut keys = found.keys;
        let mut notes: Vec<String> = found.note.into_iter().collect();
        leave_out_withdrawn(client, claim, &mut keys, &mut notes)?;
        if answer.roots == Some(Roots::Bundled) {
            notes.push(
                "The system has no certificate authorities, so those that come with pg_auth_jwt were \
                 used."
                    .to_owned(),
            );
        }
        let note = (!notes.is_empty()).then(|| notes.join(" "));
        Ok(Ok(Self { keys, note }))
    }
}

/// Leaves out keys that were withdrawn here.
fn leave_out_withdrawn(
    client: &SpiClient,
    claim: &Claim,
    keys: &mut Vec<JwksEntry>,
    notes: &mut Vec<String>,
) -> Result<(), Report> {
    let mut withdrawn = HashSet::new();
    for row in client
        .select(
            in_schema!(
                "SELECT w.thumbprint FROM @extschema@.withdrawn_keys AS w \
             WHERE w.issuer OPERATOR(pg_catalog.=) $1"
            ),
            None,
            &[argument(&claim.issuer)?],
        )
        .map_err(tables_unreadable)?
    {
        let thumbprint: Option<ServerText> = row.get(1).map_err(tables_unreadable)?;
        withdrawn.extend(thumbprint.map(|ServerText(text)| text));
    }
    let before = keys.len();
    keys.retain(|entry| {
        let thumbprint = entry.key.as_ref().map(jwt_verify::Key::thumbprint);
        thumbprint.is_ok_and(|thumbprint| !withdrawn.contains(thumbprint))
    });
    let left_out = before.saturating_sub(keys.len());
    if left_out > 0 {
        notes.push(format!(
            "{left_out} of the published keys are in auth.withdrawn_keys and were left out."
        ));
    }
    Ok(())
}

/// Writes the row of a fetch that has ended, unless the row is another fetch's by now.
fn finish(client: &mut SpiClient, claim: &Claim, end: End) -> Result<(), Report> {
    let Some(row) = endpoints::lock(client, &claim.issuer)? else {
        return Ok(());
    };
    let Some(after) = fetch_state::after(row, &claim.fetch, end, sql::now(), random()) else {
        return Ok(());
    };
    let error = after.row.last_error.clone().unwrap_or_default();
    endpoints::write(client, &claim.issuer, after.row)?;
    for event in after.events {
        match event {
            Event::FetchedAgain => log(claim, "are fetched again"),
            Event::Stale => log(
                claim,
                "are stale: they could not be fetched for longer than \"max_stale\" of auth.issuers \
                 allows, and are not trusted",
            ),
            Event::Failing { failures } => {
                let times = if failures == 1 { "" } else { ", again" };
                log(
                    claim,
                    &format!("could not be fetched{times} ({failures} failures): {error}"),
                );
            }
        }
    }
    Ok(())
}

fn log(claim: &Claim, what: &str) {
    report::log_to_server(&format!(
        "keys of issuer {} at {} {what}",
        Excerpt::new(&claim.issuer),
        claim.endpoint.shown()
    ));
}

/// A random number, to spread requests. It need not be unpredictable.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: writes that many bytes.
    unsafe { pgrx::pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    u32::from_ne_bytes(bytes)
}
