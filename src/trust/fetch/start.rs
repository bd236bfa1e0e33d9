//! Starts the refreshing process, where a backend finds that keys should be fetched, and waits for
//! it.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::turns;
use crate::pg::worker::{self, Spec, Start};
use crate::settings;
use crate::trust::fetch::claim::{self, Reason};
use crate::trust::fetch::worker::{AT_ONCE, FUNCTION, NAME, extra};
use crate::trust::lookup;
use crate::trust::lookup::seen::Seen;
use crate::trust::sql;
use crate::trust::tables::Tables;
use crate::trust::tables::progress::{CLAIM, Progress};

/// How often the outcome is looked at, besides each time that the process starts and ends.
const LOOK: Duration = Duration::from_millis(20);

/// A process that this backend has started.
#[derive(Clone)]
pub struct Started {
    issuer: Box<str>,
    /// The issuer's `last_attempt` before.
    former: Option<UnixTime>,
    /// The process's, for [`worker::has_ended`].
    number: u64,
    /// The key of the turn that it took, if it took one.
    turn: Option<u64>,
}

/// Why a fetch could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// All of `max_worker_processes` were taken.
    NoneFree,
    /// As many fetches as may ([`AT_ONCE`]) were running.
    Busy,
}

thread_local! {
    /// The last one, until it is asked for.
    static LAST: RefCell<Option<Started>> = const { RefCell::new(None) };
    /// Why the last fetch could not be started.
    static OBSTACLE: Cell<Option<Obstacle>> = const { Cell::new(None) };
}

/// Why the last fetch could not be started, if it could not.
pub fn obstacle() -> Option<Obstacle> {
    OBSTACLE.get()
}

/// Forgets what was started before.
pub fn forget() {
    OBSTACLE.set(None);
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
    let now = sql::now();
    if !seen.is_enabled || seen.row.is_running(now) {
        return;
    }
    if !worker::may_start() || !settings::fetching_is_on() {
        return;
    }
    if is_busy() {
        OBSTACLE.set(Some(Obstacle::Busy));
        return;
    }
    // Of all backends that find this fetch missing, one starts it. The claim that its process then
    // makes changes the key; where it makes none, another is started in a later epoch.
    let epoch = now
        .abs_diff(UnixTime::from_seconds(0))
        .as_secs()
        .checked_div(CLAIM.as_secs())
        .unwrap_or(0);
    let last_attempt = seen.row.last_attempt.map(UnixTime::as_micros);
    let mut hasher = DefaultHasher::new();
    (&seen.issuer, last_attempt, epoch).hash(&mut hasher);
    let turn = hasher.finish();
    if turns::of_epoch(epoch, turn) {
        match register(seen, reason) {
            Ok(started) => LAST.set(Some(Started {
                turn: Some(turn),
                ..started
            })),
            Err(_) => turns::give_back(),
        }
    }
}

/// Whether no process can begin to fetch at this moment, as one that is started would find out: that
/// would cost more, and take one of `max_worker_processes` meanwhile.
fn is_busy() -> bool {
    !worker::has_room() || AT_ONCE.are_taken()
}

/// Starts a fetch that a user asks for.
///
/// # Errors
///
/// Where it cannot be started now.
pub fn asked(seen: &Seen) -> Result<Started, Obstacle> {
    if is_busy() {
        return Err(Obstacle::Busy);
    }
    register(seen, Reason::Asked)
}

fn register(seen: &Seen, reason: Reason) -> Result<Started, Obstacle> {
    let Some(tag) = claim::tag_of(&seen.issuer) else {
        return Err(Obstacle::Busy);
    };
    let spec = Spec {
        name: NAME,
        function: FUNCTION,
        // SAFETY: reads a variable of the backend.
        database: unsafe { pg_sys::MyDatabaseId },
        extra: extra(tag, reason),
        notify: true,
    };
    let outcome = match spec.start() {
        Start::Started(number) => Ok(Started {
            issuer: seen.issuer.clone(),
            former: seen.row.last_attempt,
            number,
            turn: None,
        }),
        Start::NoneFree => Err(Obstacle::NoneFree),
        Start::TooMany => Err(Obstacle::Busy),
    };
    OBSTACLE.set(outcome.as_ref().err().copied());
    outcome
}

impl Started {
    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        worker::has_ended(self.number)
    }

    /// Waits until the fetch has ended, or one of another process that was faster, for that time at
    /// most. Returns the issuer's state, if it has ended.
    pub fn wait(&self, at_most: Duration) -> Option<Progress> {
        let start = Instant::now();
        loop {
            let left = at_most.checked_sub(start.elapsed())?;
            worker::wait(left.min(LOOK));
            // Asked before the row is read: what the process has written is there then.
            let is_gone = self.has_ended();
            let row = look(&self.issuer)?.row;
            if row.outcome.is_some() && row.last_attempt != self.former {
                return Some(row);
            }
            if is_gone && !row.is_running(sql::now()) {
                // It found that others were fetching, or failed. Where no place is free, that is why; so the
                // next who wants the fetch need not wait for another epoch.
                if is_busy() {
                    OBSTACLE.set(Some(Obstacle::Busy));
                    if let Some(turn) = self.turn {
                        turns::give_back_of(turn);
                    }
                }
                return None;
            }
        }
    }
}

/// How the fetching goes at this moment; `None` where the issuer is not followed.
pub fn look(issuer: &str) -> Option<Seen> {
    lookup::endpoint(&Tables::open()?, issuer)
}
