//! Starts the refreshing process, where a backend finds that keys should be fetched, and waits for
//! it.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::worker::{self, Spec};
use crate::settings;
use crate::trust::endpoint::claim::{self, Reason};
use crate::trust::endpoint::rows;
use crate::trust::endpoint::state::{CLAIM, Progress, Seen};
use crate::trust::endpoint::worker::{FUNCTION, NAME, extra};
use crate::trust::lookup;
use crate::trust::tables::Tables;

/// How often the outcome is looked at, besides each time that the process starts and ends.
const LOOK: Duration = Duration::from_millis(20);

/// A process that this backend has started.
#[derive(Clone)]
pub struct Started {
    issuer: Box<str>,
    /// The issuer's `last_attempt` before.
    former: Option<UnixTime>,
}

thread_local! {
    /// The last one, until it is asked for.
    static LAST: RefCell<Option<Started>> = const { RefCell::new(None) };
}

/// Set where the last start failed because all of `max_worker_processes` were taken.
static NONE_FREE: AtomicBool = AtomicBool::new(false);

/// Whether the last fetch could not be started because all of `max_worker_processes` were taken.
pub fn none_was_free() -> bool {
    NONE_FREE.load(Ordering::Relaxed)
}

/// Forgets what was started before.
pub fn forget() {
    NONE_FREE.store(false, Ordering::Relaxed);
    LAST.set(None);
}

/// What was started last, since [`forget`].
pub fn last() -> Option<Started> {
    LAST.with_borrow(Clone::clone)
}

/// Starts a fetch that is due.
pub fn if_due(seen: &Seen, now: UnixTime) {
    if seen.row.is_due(now) {
        start(seen, Reason::Due);
    }
}

/// Starts a fetch for a token whose key is not known, and that would pass otherwise.
pub fn early(seen: &Seen) {
    start(seen, Reason::Early);
}

/// Starts a fetch, unless one is running or another backend is just starting one. None is started
/// on a standby, in a parallel worker, and where fetching is off.
fn start(seen: &Seen, reason: Reason) {
    let now = rows::now();
    if !seen.is_enabled || seen.row.is_running(now) {
        return;
    }
    if !worker::may_start() || !settings::fetching_is_on() {
        return;
    }
    // Of all backends that find this fetch missing, one starts it. The claim that its process then
    // makes changes the number; where it makes none, another backend tries after a while.
    let bucket = now
        .abs_diff(UnixTime::from_seconds(0))
        .as_secs()
        .checked_div(CLAIM.as_secs());
    let last_attempt = seen.row.last_attempt.map(UnixTime::as_micros);
    let mut hasher = DefaultHasher::new();
    (&seen.issuer, last_attempt, bucket).hash(&mut hasher);
    if worker::claim(hasher.finish()) {
        LAST.set(register(seen, reason));
    }
}

/// Starts a fetch that a user asks for.
pub fn asked(seen: &Seen) -> Option<Started> {
    register(seen, Reason::Asked)
}

/// `None` where all of `max_worker_processes` are taken.
fn register(seen: &Seen, reason: Reason) -> Option<Started> {
    let tag = claim::tag_of(&seen.issuer)?;
    let spec = Spec {
        name: NAME,
        function: FUNCTION,
        // SAFETY: reads a variable of the backend.
        database: unsafe { pg_sys::MyDatabaseId },
        extra: extra(tag, reason),
        notify: true,
    };
    let is_started = spec.start();
    NONE_FREE.store(!is_started, Ordering::Relaxed);
    is_started.then(|| Started {
        issuer: seen.issuer.clone(),
        former: seen.row.last_attempt,
    })
}

impl Started {
    /// Waits until the fetch has ended, or one of another process that was faster, for that time at
    /// most. Returns the issuer's state, if it has ended.
    pub fn wait(&self, at_most: Duration) -> Option<Progress> {
        let is_other = |row: &Progress| row.last_attempt != self.former;
        wait(&self.issuer, at_most, is_other)
    }
}

/// Waits for the end of a fetch that is running.
pub fn wait_for_running(issuer: &str, at_most: Duration) -> Option<Progress> {
    wait(issuer, at_most, |_| true)
}

fn wait(issuer: &str, at_most: Duration, is_meant: impl Fn(&Progress) -> bool) -> Option<Progress> {
    let start = Instant::now();
    loop {
        let left = at_most.checked_sub(start.elapsed())?;
        worker::wait(left.min(LOOK));
        let progress = Tables::open()
            .and_then(|tables| lookup::endpoint(&tables, issuer))
            .map(|seen| seen.row);
        let has_ended = |row: &&Progress| row.outcome.is_some() && is_meant(row);
        if progress.as_ref().filter(has_ended).is_some() {
            return progress;
        }
    }
}
