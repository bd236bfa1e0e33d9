//! What becomes of an answer: the second transaction of the refreshing process.

use std::collections::HashSet;
use std::time::Duration;

use jwks_rules::schedule;
use jwks_rules::wire::{Answer, Outcome, Roots};
use jwt_verify::{AlgorithmSet, JwksEntry, UnixTime};
use pgrx::datum::DatumWithOid;
use pgrx::spi::SpiClient;

use crate::errors::{self, tables_unreadable};
use crate::pg::attempt::Failure;
use crate::pg::encoding::ServerText;
use crate::pg::report::{self, Report, SqlState};
use crate::trust::fetch::claim::{self, Claim, Reason};
use crate::trust::fetch::usable;
use crate::trust::sql::{self, First, argument, lossy_argument, run, text_argument, time_argument};
use crate::trust::store::admission::algorithms;
use crate::trust::store::changes::KeyChanges;
use crate::trust::store::lock;
use crate::trust::store::withdrawn::Replacing;

/// How long an answer that is older than the stored one is not believed: another server of the same
/// endpoint may have the newer one. After that the endpoint itself went back, or its clock.
const MAX_OLDER: Duration = Duration::from_secs(60 * 60);

/// Longest error or note that is stored, in characters.
const MAX_STORED_CHARS: usize = 1_000;

/// How a fetch ended, as the column `outcome` has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Changed,
    Unchanged,
    Outdated,
    Failed,
}

impl Stored {
    fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Outdated => "outdated",
            Self::Failed => "failed",
        }
    }
}

/// Stores an answer. It is thrown away where the issuer is gone or followed elsewhere meanwhile.
///
/// # Errors
///
/// Where the tables cannot be read or written.
pub fn store(client: &mut SpiClient, claim: &Claim, answer: &Answer) -> Result<(), Report> {
    let Some(issuer) = CurrentIssuer::read(client, claim, "")? else {
        return Ok(());
    };
    match answer.outcome {
        Outcome::Failed => {
            let error = answer.error.as_ref();
            let message = error.map_or("no answer", |error| error.message.as_str());
            failed(client, claim, message, answer.retry_after)
        }
        Outcome::NotModified if claim.etag.is_none() => {
            let message = "the endpoint says that nothing was modified, and was not asked that";
            failed(client, claim, message, None)
        }
        Outcome::NotModified => succeeded(client, claim, answer, Stored::Unchanged, KeepNote::Yes),
        Outcome::Fetched => fetched(client, claim, answer, &issuer),
    }
}

/// Notes that the transaction of [`store`] failed, as a failed fetch.
///
/// # Errors
///
/// Where `auth.endpoints` cannot be written.
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
    failed(client, claim, &message, None)
}

/// The issuer's row of `auth.issuers`, where it still has the source that was fetched from, and no
/// later fetch has begun.
struct CurrentIssuer {
    algorithms: AlgorithmSet,
}

impl CurrentIssuer {
    fn read(client: &mut SpiClient, claim: &Claim, lock: &str) -> Result<Option<Self>, Report> {
        let query = format!(
            "SELECT i.algorithms::pg_catalog.text[] \
                 FROM auth.endpoints AS e JOIN auth.issuers AS i \
                 ON i.issuer OPERATOR(pg_catalog.=) e.issuer \
                 WHERE e.issuer OPERATOR(pg_catalog.=) $1 AND e.last_attempt OPERATOR(pg_catalog.=) $2 \
                 AND i.source OPERATOR(pg_catalog.=) $3::pg_catalog.jsonb {lock}"
        );
        let found = client
            .update(
                query.as_str(),
                Some(1),
                &[
                    argument(&claim.issuer)?,
                    time_argument(Some(claim.began)),
                    argument(&claim.endpoint.to_json())?,
                ],
            )
            .map_err(tables_unreadable)?;
        let Some(row) = First::of(found) else {
            return Ok(None);
        };
        // SAFETY: the query gives a text[].
        let algorithms = unsafe { algorithms(row.datum(1)?) }?;
        Ok(Some(Self { algorithms }))
    }
}

/// Stores the keys of an answer, where they differ from the stored ones.
fn fetched(
    client: &mut SpiClient,
    claim: &Claim,
    answer: &Answer,
    issuer: &CurrentIssuer,
) -> Result<(), Report> {
    let wanted = match Wanted::of(client, claim, answer, issuer)? {
        Ok(wanted) => wanted,
        Err(message) => return failed(client, claim, &message, None),
    };
    if KeyChanges::find(client, &claim.issuer, &wanted.keys)?.is_empty() {
        let note = KeepNote::No(wanted.note.as_deref());
        return succeeded(client, claim, answer, Stored::Unchanged, note);
    }
    if is_older(claim, answer) {
        return older(client, claim);
    }
    let _snapshot = lock::lock_tables("auth.refresh()")?;
    // During the wait for the locks everything may have changed: the source, the rules, and which
    // keys are withdrawn. The row is locked after the tables, as auth.follow_url does.
    let Some(issuer) = CurrentIssuer::read(client, claim, "FOR UPDATE OF e")? else {
        return Ok(());
    };
    let wanted = match Wanted::of(client, claim, answer, &issuer)? {
        Ok(wanted) => wanted,
        Err(message) => return failed(client, claim, &message, None),
    };
    let changes = KeyChanges::find(client, &claim.issuer, &wanted.keys)?;
    let stored = if changes.is_empty() {
        Stored::Unchanged
    } else {
        Stored::Changed
    };
    {
        let _replacing = Replacing::begin();
        keep_ended(client, claim, &changes.gone(&wanted.keys))?;
        changes.apply(client, &claim.issuer, &wanted.keys)?;
    }
    let note = KeepNote::No(wanted.note.as_deref());
    succeeded(client, claim, answer, stored, note)
}

/// Notes those of the keys that are to be deleted whose end was set by hand: only that gives a
/// fetched key an `expires_at`. Else they would come back without it, once the endpoint lists them
/// again.
fn keep_ended(client: &mut SpiClient, claim: &Claim, gone: &[&str]) -> Result<(), Report> {
    if gone.is_empty() {
        return Ok(());
    }
    run(
        client,
        "INSERT INTO auth.withdrawn_keys (issuer, thumbprint) \
         SELECT k.issuer, k.thumbprint FROM auth.jwks AS k \
         WHERE k.issuer OPERATOR(pg_catalog.=) $1 AND k.expires_at IS NOT NULL \
         AND k.thumbprint OPERATOR(pg_catalog.=) ANY ($2) ON CONFLICT DO NOTHING",
        &[argument(&claim.issuer)?, gone.to_vec().into()],
    )
}

/// The keys of an answer that are to be stored.
struct Wanted {
    keys: Vec<JwksEntry>,
    /// Sentences about what was left out, and about the answer.
    note: Option<String>,
}

impl Wanted {
    /// By the issuer's rules. The inner error is a sentence that says why the answer is refused.
    fn of(
        client: &SpiClient,
        claim: &Claim,
        answer: &Answer,
        issuer: &CurrentIssuer,
    ) -> Result<Result<Self, String>, Report> {
        let found = match usable::read(&answer.body, issuer.algorithms) {
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
            "SELECT w.thumbprint FROM auth.withdrawn_keys AS w \
             WHERE w.issuer OPERATOR(pg_catalog.=) $1",
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

/// Whether an answer with other keys is older than the stored one.
fn is_older(claim: &Claim, answer: &Answer) -> bool {
    let seconds = |time: Option<i64>| time.map(UnixTime::from_seconds);
    let (modified, date) = (seconds(answer.last_modified), seconds(answer.date));
    let before = &claim.before;
    let is_older = match (
        before.last_modified.zip(modified),
        before.answer_date.zip(date),
    ) {
        (Some((stored, new)), _) | (None, Some((stored, new))) => new < stored,
        (None, None) => false,
    };
    let since = before.last_success.unwrap_or(UnixTime::MIN);
    // Where the clock was set back, the last success lies in the future.
    is_older && since <= claim.began && claim.began < since.saturating_add(MAX_OLDER)
}

/// What becomes of the note in the row.
enum KeepNote<'n> {
    Yes,
    No(Option<&'n str>),
}

fn succeeded(
    client: &mut SpiClient,
    claim: &Claim,
    answer: &Answer,
    stored: Stored,
    note: KeepNote,
) -> Result<(), Report> {
    let now = sql::now();
    let next = now.saturating_add(schedule::after_success(
        answer.max_age,
        answer.age,
        random(),
    ));
    let is_new = answer.outcome == Outcome::Fetched;
    let digest = match &answer.etag {
        Some(_) if is_new => claim::digest(client, &claim.issuer)?,
        _ => None,
    };
    // A time of the server's that lies in the future is no measure for later answers.
    let present = UnixTime::from_seconds(now.as_micros() / 1_000_000);
    let seconds = |time: Option<i64>| {
        time_argument(time.map(|time| UnixTime::from_seconds(time).min(present)))
    };
    let (keep_note, note) = match note {
        KeepNote::Yes => (true, None),
        KeepNote::No(note) => (false, note.map(shorten)),
    };
    let mut arguments = common(claim, stored, next)?;
    arguments.extend([
        time_argument(Some(now)),
        is_new.into(),
        text_argument(answer.etag.as_deref())?,
        text_argument(digest.as_deref())?,
        seconds(answer.date),
        seconds(answer.last_modified),
        text_argument(answer.jwks_uri.as_deref())?,
        keep_note.into(),
        lossy_argument(note.as_deref())?,
        (stored == Stored::Changed).into(),
        // No later than the wait between early fetches asks for: the endpoint answers again.
        time_argument(Some(
            claim.began.saturating_add(unknown_key_wait(claim, stored)),
        )),
    ]);
    update(
        client,
        "last_success = $7, failures = 0, last_error = NULL, \
         etag = CASE WHEN $8 THEN $9 ELSE e.etag END, \
         etag_digest = CASE WHEN $8 THEN $10 ELSE e.etag_digest END, \
         answer_date = greatest(CASE WHEN $16 THEN NULL ELSE e.answer_date END, $11), \
         last_modified = greatest(CASE WHEN $16 THEN NULL ELSE e.last_modified END, $12), \
         jwks_uri = coalesce($13, e.jwks_uri), \
         note = CASE WHEN $14 THEN e.note ELSE $15 END, \
         unknown_key_after = CASE WHEN e.unknown_key_after IS NOT NULL THEN least(e.unknown_key_after, $17) END",
        &arguments,
    )?;
    if claim.before.failures > 0 {
        log(claim, "are fetched again");
    }
    Ok(())
}

fn older(client: &mut SpiClient, claim: &Claim) -> Result<(), Report> {
    let next = sql::now().saturating_add(schedule::OLDER_ANSWER_RETRY);
    let arguments = common(claim, Stored::Outdated, next)?;
    update(
        client,
        "note = 'The endpoint answered with older keys than before, which were not stored.'",
        &arguments,
    )
}

fn failed(
    client: &mut SpiClient,
    claim: &Claim,
    message: &str,
    retry_after: Option<u64>,
) -> Result<(), Report> {
    let now = sql::now();
    let failures = claim.before.failures.saturating_add(1);
    let count = u32::try_from(failures).unwrap_or(u32::MAX);
    let next = now.saturating_add(schedule::after_failure(count, retry_after, random()));
    let message = shorten(message);
    let mut arguments = common(claim, Stored::Failed, next)?;
    // The endpoint is not asked again before the time that it named: not for a token either, for
    // anyone can send one.
    let silence = retry_after.map(|seconds| {
        now.saturating_add(Duration::from_secs(seconds).min(schedule::MAX_RETRY_AFTER))
    });
    arguments.extend([
        failures.into(),
        lossy_argument(Some(&message))?,
        time_argument(silence),
    ]);
    update(
        client,
        "failures = $7, last_error = $8, unknown_key_after = greatest(e.unknown_key_after, $9)",
        &arguments,
    )?;
    let end = claim.before.trust_end;
    let was_stale = |at: Option<UnixTime>| at.zip(end).is_some_and(|(at, end)| end <= at);
    if was_stale(Some(now)) && !was_stale(claim.before.last_attempt) {
        log(
            claim,
            "are stale: they could not be fetched for longer than \"max_stale\" of auth.issuers \
             allows, and are not trusted",
        );
    }
    if count.is_power_of_two() {
        let times = if count == 1 { "" } else { ", again" };
        log(
            claim,
            &format!("could not be fetched{times} ({count} failures): {message}"),
        );
    }
    Ok(())
}

/// The arguments of each update: the claim ($1 to $3), outcome, time of the next fetch and, as a
/// number of seconds, the wait between early fetches from now on.
fn common(
    claim: &Claim,
    stored: Stored,
    next: UnixTime,
) -> Result<Vec<DatumWithOid<'static>>, Report> {
    let wait = unknown_key_wait(claim, stored);
    Ok(vec![
        argument(&claim.issuer)?,
        time_argument(Some(claim.began)),
        argument(&claim.endpoint.url)?,
        argument(stored.name())?,
        time_argument(Some(next)),
        i32::try_from(wait.as_secs()).unwrap_or(i32::MAX).into(),
    ])
}

/// The wait between early fetches from now on.
fn unknown_key_wait(claim: &Claim, stored: Stored) -> Duration {
    match (stored, claim.reason) {
        (Stored::Changed, _) => schedule::MIN_EARLY,
        (_, Reason::Early) => schedule::after_early(false, claim.before.unknown_key_wait),
        (_, Reason::Due | Reason::Asked) => claim.before.unknown_key_wait,
    }
}

/// Updates the row of the claim.
fn update(client: &mut SpiClient, set: &str, arguments: &[DatumWithOid]) -> Result<(), Report> {
    let statement = format!(
        "UPDATE auth.endpoints AS e SET outcome = $4, next_attempt = $5, unknown_key_wait = $6, {set} \
         WHERE e.issuer OPERATOR(pg_catalog.=) $1 AND e.last_attempt OPERATOR(pg_catalog.=) $2 \
         AND e.url OPERATOR(pg_catalog.=) $3"
    );
    client
        .update(statement.as_str(), None, arguments)
        .map(drop)
        .map_err(tables_unreadable)
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_STORED_CHARS).collect()
}

fn log(claim: &Claim, what: &str) {
    report::log_to_server(&format!(
        "keys of issuer \"{}\" at {} {what}",
        errors::shorten(&claim.issuer),
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
