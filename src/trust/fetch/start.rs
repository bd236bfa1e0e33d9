//! Starts the fetching process, if a backend finds that keys should be fetched, and waits for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::turns;
use crate::pg::worker::{self, Spec, Start};
use crate::settings;
use crate::trust::fetch::claim;
use crate::trust::fetch::worker::{AT_ONCE, FUNCTION, NAME, extra};
use crate::trust::lookup;
use crate::trust::lookup::seen::Seen;
use crate::trust::sql;
use crate::trust::tables::Tables;
use jwks_rules::fetch_state::Reason;
use jwks_rules::schedule::CLAIM;

/// How often the outcome is looked at, besides each time that the process starts and ends.
const LOOK: Duration = Duration::from_millis(20);

/// A process that this backend has started.
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

/// The fetch that was started while a token was verified, or why there is none.
#[derive(Default)]
pub struct Tried {
    started: Option<Started>,
    obstacle: Option<Obstacle>,
}

impl Tried {
    /// Whether a fetch was started.
    pub fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// Why the last fetch could not be started, if it could not.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// Starts a fetch that is due.
    pub fn if_due(&mut self, seen: &Seen, now: UnixTime) {
        if seen.row.is_due(now) {
            self.start(seen, Reason::Due);
        }
    }

    /// Starts a fetch for a token whose key is not known, and that would pass otherwise.
    pub fn early(&mut self, seen: &Seen) {
        self.start(seen, Reason::Early);
    }

    /// Starts a fetch, unless one is running or another backend is just starting one. None is
    /// started on a standby, in a parallel worker, and while fetching is off.
    fn start(&mut self, seen: &Seen, reason: Reason) {
        let now = sql::now();
        if !seen.is_enabled || seen.row.is_running(now) {
            return;
        }
        if !worker::may_start() || !settings::fetching_is_on() {
            return;
        }
        if is_busy() {
            self.obstacle = Some(Obstacle::Busy);
            return;
        }
        // One of all backends that find this fetch missing starts it. The claim that its process
        // then makes changes the key; where it makes none, another is started in a later epoch.
        let epoch = now
            .abs_diff(UnixTime::from_seconds(0))
            .as_secs()
            .checked_div(CLAIM.as_secs())
            .unwrap_or(0);
        let last_attempt = seen.row.last_attempt.map(UnixTime::as_micros);
        let mut hasher = DefaultHasher::new();
        (&seen.issuer, last_attempt, epoch).hash(&mut hasher);
        let turn = hasher.finish();
        if !turns::of_epoch(epoch, turn) {
            return;
        }
        let outcome = register(seen, reason);
        self.obstacle = outcome.as_ref().err().copied();
        match outcome {
            Ok(started) => {
                self.started = Some(Started {
                    turn: Some(turn),
                    ..started
                });
            }
            Err(_) => turns::give_back(),
        }
    }

    /// Waits for the fetch that was started, for that time at most. Returns whether it has ended with
    /// an outcome; if its process found no place to fetch, that is the obstacle then.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let Some(started) = &self.started else {
            return false;
        };
        match started.wait(at_most) {
            Wait::Ended => true,
            Wait::TimedOut => false,
            Wait::Gone => {
                // The next who wants the fetch need not wait for another epoch.
                if is_busy() {
                    self.obstacle = Some(Obstacle::Busy);
                    if let Some(turn) = started.turn {
                        turns::give_back_of(turn);
                    }
                }
                self.started = None;
                false
            }
        }
    }
}

/// How waiting for a fetch ended.
enum Wait {
    /// The fetch has left an outcome, or one of another process that was faster.
    Ended,
    /// The process has ended without one: it found that others were fetching, or failed; or the issuer
    /// is not followed any more.
    Gone,
    TimedOut,
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
    match spec.start() {
        Start::Started(number) => Ok(Started {
            issuer: seen.issuer.clone(),
            former: seen.row.last_attempt,
            number,
            turn: None,
        }),
        Start::NoneFree => Err(Obstacle::NoneFree),
        Start::TooMany => Err(Obstacle::Busy),
    }
}

impl Started {
    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        worker::has_ended(self.number)
    }

    /// Waits for that time at most.
    fn wait(&self, at_most: Duration) -> Wait {
        let start = Instant::now();
        loop {
            let Some(left) = at_most.checked_sub(start.elapsed()) else {
                return Wait::TimedOut;
            };
            worker::wait(left.min(LOOK));
            // Asked before the row is read: what the process has written is there then.
            let is_gone = self.has_ended();
            let Some(Seen { row, .. }) = look(&self.issuer) else {
                return Wait::Gone;
            };
            if row.outcome.is_some() && row.last_attempt != self.former {
                return Wait::Ended;
            }
            if is_gone && !row.is_running(sql::now()) {
                return Wait::Gone;
            }
        }
    }
}

/// How the fetching goes at this moment; `None` where the issuer is not followed.
pub fn look(issuer: &str) -> Option<Seen> {
    lookup::endpoint(&Tables::open()?, issuer)
}
