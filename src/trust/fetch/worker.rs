//! The fetching process: fetches the keys of the issuers that are due, mostly of one, and ends.
//!
//! It is connected to its database, and holds no transaction, snapshot or lock while it waits for
//! the network. It works in the database as the extension's owner.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use jwks_rules::fetch_state::Reason;
use jwks_rules::limits;
use jwks_rules::wire::{Answer, Failure, FailureKind, Request, VERSION};
use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiClient};

use crate::pg::attempt;
use crate::pg::guard;
use crate::pg::report::Report;
use crate::pg::turns::Limits;
use crate::pg::worker::{self, EXTRA_BYTES};
use crate::settings;
use crate::trust::fetch::answer;
use crate::trust::fetch::claim::{self, Claim, Tag};
use crate::trust::fetch::library::FetchLibrary;
use crate::trust::fetch::timetable;
use crate::trust::sql;
use crate::trust::tables;

/// The process's name in `pg_stat_activity` and in the log.
pub const NAME: &CStr = c"pg_auth_jwt fetch";

/// Name of its function, below.
pub const FUNCTION: &CStr = c"pg_auth_jwt_fetch_main";

/// Most of these processes that fetch at once. The rest of `max_worker_processes` is left to
/// others, however many tokens are sent for however many issuers; and a database whose endpoints do
/// not answer leaves a place to the others.
pub const AT_ONCE: Limits = Limits {
    server: 3,
    database: 2,
};

/// Time until the launcher tries again, if all places were taken: longer than a fetch takes.
const PLACE_RETRY: Duration = Duration::from_secs(5);

/// Interval at which it asks the library for the answer.
const POLL: Duration = Duration::from_millis(10);

/// Time after its start within which the process begins another fetch, if one is due: DROP DATABASE
/// waits 5 seconds for it, and each fetch may take [`limits::TIMEOUT`].
const MORE: Duration = Duration::from_millis(250);

/// Most issuers that it passes over because they are due and cannot be claimed.
const MAX_TRIED: usize = 1_000;

/// Message of the starting process to this one: a byte for the reason, and the issuer's tag.
pub fn extra(tag: Tag, reason: Reason) -> [u8; EXTRA_BYTES] {
    let mut extra = [0; EXTRA_BYTES];
    let reason = match reason {
        Reason::Due => 1,
        Reason::Early => 2,
        Reason::Asked => 3,
    };
    let bytes = std::iter::once(reason).chain(tag);
    for (place, byte) in extra.iter_mut().zip(bytes) {
        *place = byte;
    }
    extra
}

/// Message of the launcher to this process: any issuer with a fetch that is due.
pub fn extra_of_launcher() -> [u8; EXTRA_BYTES] {
    [0; EXTRA_BYTES]
}

fn read_extra(extra: &[u8; EXTRA_BYTES]) -> Option<(Tag, Reason)> {
    let (reason, rest) = extra.split_first()?;
    let tag = *rest.first_chunk()?;
    let reason = match reason {
        1 => Reason::Due,
        2 => Reason::Early,
        3 => Reason::Asked,
        _ => return None,
    };
    Some((tag, reason))
}

/// The process's function.
///
/// # Safety
///
/// Only Postgres may call it, in a background worker.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_auth_jwt_fetch_main(database: pg_sys::Datum) {
    // SAFETY: this is the worker's first function, and nothing in this frame needs a drop.
    unsafe {
        guard::run(|| {
            worker::connect(pg_sys::Oid::from(database.value() as u32));
            worker::force_settings();
            run()
        });
    }
}

fn run() -> Result<(), Report> {
    let start = Instant::now();
    worker::show_activity(c"looking up where keys are to be fetched");
    let mut wanted = read_extra(&worker::extra());
    // The issuers that were due and tried. None is tried twice: one that is due after that stays
    // due.
    let mut tried: Vec<Tag> = Vec::new();
    let mut has_fetched = false;
    loop {
        // Without a place it ends, without a claim: the fetch stays due, and is tried again. The
        // launcher must not take that for a failure, after which it would wait longer each time.
        if !AT_ONCE.take() {
            let again = sql::now().saturating_add(PLACE_RETRY);
            // SAFETY: reads a variable of the process.
            timetable::note(unsafe { pg_sys::MyDatabaseId }, Some(again));
            return Ok(());
        }
        let claimed = as_owner(|client| match wanted.take() {
            Some((tag, reason)) => match claim::issuer_of(client, tag)? {
                Some(issuer) => claim::take(client, &issuer, reason),
                None => Ok(None),
            },
            None => match claim::next_due(client, &tried)? {
                Some(issuer) => {
                    tried.extend(claim::tag_of(&issuer));
                    claim::take(client, &issuer, Reason::Due)
                }
                None => Ok(None),
            },
        })?;
        let claim = claimed.flatten();
        if let Some(claim) = claim {
            has_fetched = true;
            worker::show_activity(c"fetching keys");
            let answer = fetch(&claim);
            worker::show_activity(c"storing keys");
            let stored = attempt::transaction(tables::extension_owner, || {
                Spi::connect_mut(|client| answer::store(client, &claim, &answer))
            });
            if let Err(failure) = stored {
                // Without this the fetch would count as running, and then as due, and
                // auth.key_status would not say why.
                as_owner(|client| answer::not_stored(client, &claim, &failure))?;
            }
        }
        // Other issuers may be due for which no process could be started.
        let left = as_owner(|client| claim::outlook(client, &tried))?.unwrap_or_default();
        // SAFETY: reads a variable of the process.
        let database = unsafe { pg_sys::MyDatabaseId };
        timetable::note_tried(database, left.next, left.is_stuck, sql::now());
        // Issuers that could not be claimed cost little, and must not keep the others waiting.
        let is_over = start.elapsed() >= MORE && (has_fetched || tried.len() >= MAX_TRIED);
        if !left.is_due || is_over {
            return Ok(());
        }
    }
}

/// Runs `body` in a transaction as the extension's owner, a role that may be NOLOGIN or renamed.
/// Returns `None` if there is no extension (any more).
fn as_owner<T>(
    body: impl FnOnce(&mut SpiClient) -> Result<T, Report>,
) -> Result<Option<T>, Report> {
    worker::transaction(tables::extension_owner, || Spi::connect_mut(body)).transpose()
}

/// Asks the endpoint, for [`limits::TIMEOUT`] at most.
fn fetch(claim: &Claim) -> Answer {
    let failed = |kind, message: String| Answer::failed(Failure { kind, message });
    if !settings::fetching_is_on() {
        let message = "fetching is off: setting pg_auth_jwt.fetch_hosts is empty";
        return failed(FailureKind::Gate, message.to_owned());
    }
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let request = Request {
        url: claim.endpoint.url.clone(),
        discover: claim.endpoint.discover,
        issuer: claim.issuer.clone(),
        hosts: settings::fetch_hosts(),
        ca_file: settings::fetch_ca_file(),
        etag: claim.fetch.etag.clone(),
        timeout_ms: milliseconds(limits::TIMEOUT),
        connect_timeout_ms: milliseconds(limits::CONNECT_TIMEOUT),
        user_agent: concat!("pg_auth_jwt/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let Ok(request) = request.to_json() else {
        let message = "the URL or setting pg_auth_jwt.fetch_hosts is too long";
        return failed(FailureKind::Protocol, message.to_owned());
    };
    let library = match FetchLibrary::load(VERSION) {
        Ok(library) => library,
        Err(message) => return failed(FailureKind::Protocol, message),
    };
    let Some(fetch) = library.start(&request) else {
        let message = "the fetch could not be started";
        return failed(FailureKind::Protocol, message.to_owned());
    };
    let start = Instant::now();
    loop {
        if let Some(answer) = fetch.poll() {
            return Answer::from_json(&answer)
                .unwrap_or_else(|error| failed(FailureKind::Protocol, error.to_string()));
        }
        // The library has the same limit, but may exceed it while it looks a name up.
        if start.elapsed() >= limits::TIMEOUT {
            return failed(
                FailureKind::Timeout,
                "no complete answer in time".to_owned(),
            );
        }
        worker::wait(POLL);
    }
}
