//! How fetching the keys of one issuer goes: its row of `auth.endpoints`, as a backend reads it.

use std::time::Duration;

use jwks_fetch::{EndpointUrl, HostList, schedule};
use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::errors;
use crate::pg::clock;
use crate::pg::library::FetchLibrary;
use crate::pg::report::Report;
use crate::pg::row::Row;
use crate::settings;
use crate::trust::endpoint::start::{self, Obstacle};
use crate::trust::endpoint::{Endpoint, timetable};

/// The columns that are needed: without one of them, or of another type, nothing was fetched.
pub const COLUMNS: [(&str, pg_sys::Oid); 5] = [
    ("issuer", pg_sys::TEXTOID),
    ("last_success", pg_sys::TIMESTAMPTZOID),
    ("last_attempt", pg_sys::TIMESTAMPTZOID),
    ("next_attempt", pg_sys::TIMESTAMPTZOID),
    ("outcome", pg_sys::TEXTOID),
];

/// How long a fetch counts as running: longer than any takes (`jwks_fetch::limits::TIMEOUT`, and
/// what the process needs to start and to store the keys). A process that is killed leaves its
/// claim.
pub const CLAIM: Duration = Duration::from_secs(10);

/// A text that is read of the row, such as an error, is no longer than this.
const MAX_TEXT_BYTES: usize = 4_096;

/// What a backend knows of an issuer's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The issuer's name in `auth.issuers`.
    pub issuer: Box<str>,
    pub endpoint: Endpoint,
    /// Whether the issuer is; if not, nothing is fetched for it.
    pub is_enabled: bool,
    /// `auth.issuers.max_stale`; `None`: the keys count for ever.
    pub max_stale: Option<Duration>,
    pub row: Progress,
}

/// What a row of `auth.endpoints` says; as if there was none where it is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub last_success: Option<UnixTime>,
    pub last_attempt: Option<UnixTime>,
    pub next_attempt: Option<UnixTime>,
    pub early_after: Option<UnixTime>,
    /// When the last answer was given, by the server's clock.
    pub answered: Option<UnixTime>,
    pub outcome: Option<String>,
    pub failures: i32,
    pub last_error: Option<String>,
    pub note: Option<String>,
}

impl Progress {
    /// Reads a row of the table.
    pub fn read(row: &Row) -> Self {
        let time = |column| row.timestamp(column).map(clock::from_postgres);
        let text = |column| row.name(column, MAX_TEXT_BYTES).ok().flatten();
        Self {
            last_success: time("last_success"),
            last_attempt: time("last_attempt"),
            next_attempt: time("next_attempt"),
            early_after: time("early_after"),
            answered: time("answered"),
            outcome: text("outcome"),
            failures: row.integer("failures").unwrap_or(0),
            last_error: text("last_error"),
            note: text("note"),
        }
    }

    /// Whether a fetch is running: one began, and neither ended nor took longer than any does.
    pub fn is_running(&self, now: UnixTime) -> bool {
        let began = self.last_attempt.filter(|_| self.outcome.is_none());
        began.is_some_and(|began| began <= now && now < began.saturating_add(CLAIM))
    }

    /// Whether the next fetch is due.
    pub fn is_due(&self, now: UnixTime) -> bool {
        is_due(self.next_attempt, now)
    }

    /// Whether a token with an unknown key id may cause a fetch.
    pub fn may_be_early(&self, now: UnixTime) -> bool {
        is_due(self.early_after, now)
    }
}

/// Whether what is planned for `next` is due; also where that is further away than any plan is.
pub fn is_due(next: Option<UnixTime>, now: UnixTime) -> bool {
    next.is_none_or(|next| schedule::is_due(now.as_micros(), next.as_micros()))
}

/// The state of an endpoint's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They were fetched, and count.
    Live,
    /// They were fetched too long ago, and do not count.
    Stale,
    /// They were never fetched.
    Missing,
}

impl State {
    /// As `auth.key_status` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

impl Seen {
    /// When the keys were fetched last; `None`: never, or at a time that cannot be told.
    ///
    /// Where the clock was ahead then, `last_success` lies in the future, and the keys would count until long
    /// after that. The next claim corrects it; where none is made (fetching is off, on a standby), the date
    /// of the answer tells more, by the other server's clock.
    fn fetched_at(&self, now: UnixTime) -> Option<UnixTime> {
        let last = self.row.last_success?;
        // As far as any plan is from the present; a clock that was set by seconds is none of this.
        if last <= now.saturating_add(schedule::LONGEST) {
            return Some(last);
        }
        self.row.answered.filter(|answered| *answered <= now)
    }

    /// From when on the keys do not count; `None`: they were never fetched.
    pub fn valid_until(&self, now: UnixTime) -> Option<UnixTime> {
        self.row.last_success?;
        Some(match (self.max_stale, self.fetched_at(now)) {
            (None, _) => UnixTime::MAX,
            (Some(length), Some(fetched)) => fetched.saturating_add(length),
            (Some(_), None) => UnixTime::MIN,
        })
    }

    /// The state of the keys.
    pub fn state(&self, now: UnixTime) -> State {
        match self.valid_until(now) {
            None => State::Missing,
            Some(end) if end <= now => State::Stale,
            Some(_) => State::Live,
        }
    }

    /// When the row must be read again: where the keys cease to count, and where a fetch is due,
    /// for then a process has to be started, unless that was just tried.
    pub fn due(&self, now: UnixTime) -> UnixTime {
        /// How often a backend tries to start a fetch that is due.
        const RETRY: Duration = Duration::from_secs(1);
        let retry = now.saturating_add(RETRY);
        let next = self.row.next_attempt.filter(|_| !self.row.is_due(now));
        let next = next.map_or(retry, |next| next.max(retry));
        let end = self.valid_until(now).filter(|end| *end > now);
        end.map_or(next, |end| end.min(next))
    }

    /// Why nothing is fetched, with this server's settings and files.
    fn hindrance(&self) -> Option<String> {
        let hosts = settings::fetch_hosts();
        let why = if hosts.trim().is_empty() {
            "setting pg_auth_jwt.fetch_hosts is empty".to_owned()
        } else if !FetchLibrary::path().is_some_and(|path| path.exists()) {
            "the library pg_auth_jwt_fetch is not installed beside pg_auth_jwt".to_owned()
        } else {
            let url = EndpointUrl::parse(&self.endpoint.url).map_err(|error| error.to_string());
            let list = HostList::read(&hosts);
            match url.and_then(|url| list.admit(url).map_err(|error| error.to_string())) {
                Ok(_) => return None,
                Err(why) => why,
            }
        };
        Some(format!("Nothing is fetched: {why}."))
    }

    /// Whether a fetch should have begun by now, and nothing is known to hinder it.
    fn is_overdue(&self, now: UnixTime) -> bool {
        /// Longer than the launcher, or those whose tokens are verified, take to begin one.
        const USUAL: Duration = Duration::from_secs(120);
        let next = self.row.next_attempt;
        self.is_enabled && next.is_some_and(|next| next.saturating_add(USUAL) <= now)
    }

    /// The line for the server's log, where the state is a new one.
    pub fn log_line(&self, state: State) -> String {
        let issuer = errors::shorten(&self.issuer);
        let url = self.endpoint.shown();
        let remark = match state {
            State::Live => "",
            State::Stale => {
                ": they could not be fetched for longer than \"max_stale\" of auth.issuers allows, and are not trusted"
            }
            State::Missing => ": they were not fetched yet",
        };
        let name = state.name();
        format!("keys of issuer \"{issuer}\" at {url} are {name}{remark}")
    }

    /// What is wrong, in sentences; `None` where all is well. `auth.lint` knows by the first words of
    /// the first sentence why live keys are not fetched, so no text that is stored comes before.
    pub fn remark(&self, now: UnixTime) -> Option<String> {
        let url = self.endpoint.shown();
        let state = match self.state(now) {
            State::Live => None,
            State::Missing => Some(format!("The keys have not been fetched from {url} yet.")),
            State::Stale if self.fetched_at(now).is_none() => Some(format!(
                "The keys were fetched from {url} at a time that lies in the future (last_success), and count as \
                 stale until they are fetched again."
            )),
            State::Stale => Some(format!(
                "The keys were last fetched from {url} longer ago than \"max_stale\" of auth.issuers allows."
            )),
        };
        let hindrance = self.hindrance();
        let late = (hindrance.is_none() && self.is_overdue(now)).then(|| {
            let since = if timetable::has_launcher() {
                "The launcher has not begun a fetch that is due:"
            } else {
                "A fetch is due and has not begun: no token was verified since, or"
            };
            format!(
                "{since} no process could be started (max_worker_processes), or it failed before it began, \
                 which the server's log says."
            )
        });
        let error = (self.row.failures > 0 && hindrance.is_none())
            .then_some(self.row.last_error.as_deref())
            .flatten()
            .map(|error| errors::sentence(error.trim_end_matches('.')));
        let parts = [state, hindrance, late, error, self.row.note.clone()];
        let remark: Vec<String> = parts.into_iter().flatten().collect();
        (!remark.is_empty()).then(|| remark.join(" "))
    }

    /// For a token without a key among the fetched ones. Anyone may send a token, so that neither
    /// the URL nor what the endpoint answers is told.
    pub fn refusal(&self, error: &jwt_verify::Error, now: UnixTime) -> Report {
        let remark = match self.state(now) {
            State::Live => None,
            State::Missing => Some("The issuer's keys have not been fetched yet."),
            State::Stale => Some(
                "The issuer's keys were last fetched longer ago than \"max_stale\" of auth.issuers allows.",
            ),
        };
        let is_running = self.row.is_running(now) || start::last().is_some();
        let hint = match start::obstacle() {
            Some(Obstacle::NoneFree) => Some(
                "The issuer's keys could not be fetched, because all of max_worker_processes are taken.",
            ),
            Some(Obstacle::Busy) => Some(
                "The issuer's keys could not be fetched yet, because other keys were being fetched: try again in a few seconds.",
            ),
            None if self.hindrance().is_some() => Some(
                "The issuer's keys are not fetched on this server; the view auth.key_status says why.",
            ),
            None if is_running => {
                Some("The issuer's keys are being fetched now: try again in a few seconds.")
            }
            None => None,
        };
        errors::key_not_fetched(error, remark, hint)
    }
}
