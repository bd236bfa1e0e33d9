//! The start of a fetching process by a backend that finds a fetch due, and the wait for its end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use jwks_rules::fetch_state::Reason;
use jwks_rules::schedule::CLAIM;
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

/// Interval at which it looks for the outcome, beside each signal that the process has started or
/// ended.
const LOOK: Duration = Duration::from_millis(20);

/// A process that this backend has started.
pub struct Started {
    issuer: Box<str>,
    /// The issuer's former `last_attempt`.
    former: Option<UnixTime>,
    /// Number of the process, for [`worker::has_ended`].
    number: u64,
    /// Key of the turn that it took, if it took one.
    turn: Option<u64>,
}

/// Reason why a fetch could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// All of `max_worker_processes` were taken.
    NoneFree,
    /// The most fetches that may run at once ([`AT_ONCE`]) were running.
    Busy,
}

/// The fetch that was started while a token was verified, or the obstacle.
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

    /// Reason why the last fetch could not be started, if it could not.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// Starts a fetch that is due.
    pub fn if_due(&mut self, seen: &Seen, now: UnixTime) {
        if seen.row.is_due(now) {
            self.start(seen, Reason::Due);
        }
    }

    /// Starts a fetch for a token whose only fault is that its key is not known.
    pub fn early(&mut self, seen: &Seen) {
        self.start(seen, Reason::Early);
    }

    /// Starts a fetch, unless one is running or another backend is starting one. Starts none on a
    /// standby, in a parallel worker, or while fetching is off.
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
        // Only one of the backends that find this fetch due starts it. The claim of its process
        // changes the key; if it claims nothing, a backend starts another process in a later epoch.
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

    /// Waits for the fetch that was started, for that time at most. Returns whether it has ended
    /// with an outcome. If its process found no place to fetch, [`obstacle`](Self::obstacle) says
    /// so.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let Some(started) = &self.started else {
            return false;
        };
        match started.wait(at_most) {
            Wait::Ended => true,
            Wait::TimedOut => false,
            Wait::Gone => {
                // Another backend need not wait for a later epoch to start the fetch.
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

/// End of the wait for a fetch.
enum Wait {
    /// The fetch has left an outcome, or that of another process that was faster has.
    Ended,
    /// The process has ended without an outcome: it found that others were fetching, or failed; or
    /// the issuer is not followed any more.
    Gone,
    TimedOut,
}

/// Whether no process can begin to fetch at this moment. A process that is started would find out
/// too, at a higher cost, and takes one of `max_worker_processes` meanwhile.
fn is_busy() -> bool {
    !worker::has_room() || AT_ONCE.are_taken()
}

/// Starts a fetch that a user asks for.
///
/// # Errors
///
/// If it cannot be started now.
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
        argument: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        extra: extra(tag, reason),
        on_standby: false,
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

    /// Waits for the end, for that time at most.
    fn wait(&self, at_most: Duration) -> Wait {
        let start = Instant::now();
        loop {
            let Some(left) = at_most.checked_sub(start.elapsed()) else {
                return Wait::TimedOut;
            };
            worker::wait(left.min(LOOK));
            // Asked before the row is read: the writes of a process are visible once it has ended.
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

/// State of the issuer's fetching at this moment; `None` if it is not followed.
pub fn look(issuer: &str) -> Option<Seen> {
    lookup::endpoint(&Tables::open()?, issuer)
}
