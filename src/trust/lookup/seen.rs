//! State of an endpoint's keys, as a backend judges it: its issuer's rules, and its row of
//! `auth.endpoints`.

use std::time::Duration;

use jwks_rules::fetch_state::EndpointRow;
use jwks_rules::schedule;
use jwt_verify::UnixTime;

use crate::trust::source::endpoint::Endpoint;

/// An issuer's endpoint, as a backend knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The issuer's name in `auth.issuers`.
    pub issuer: Box<str>,
    pub endpoint: Endpoint,
    /// Whether the issuer is enabled; if not, nothing is fetched for it.
    pub is_enabled: bool,
    /// `auth.issuers.max_stale`; `None`: the keys count for ever.
    pub max_stale: Option<Duration>,
    pub row: EndpointRow,
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
    /// Name in `auth.key_status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

impl Seen {
    /// Time of the last fetch; `None`: never, or at an unknown time.
    ///
    /// If the clock was ahead then, `last_success` lies in the future, and the keys would count
    /// until long after that. The next claim corrects it. Without one (fetching is off, or on a
    /// standby), the date of the answer is used, by the other server's clock.
    pub fn fetched_at(&self, now: UnixTime) -> Option<UnixTime> {
        let last = self.row.last_success?;
        // No plan is further away from the present; a clock that was set by seconds stays below
        // this.
        if last <= now.saturating_add(schedule::LONGEST) {
            return Some(last);
        }
        self.row.answer_date.filter(|answered| *answered <= now)
    }

    /// The time from which on the keys do not count; `None`: they were never fetched.
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

    /// Time at which the row must be read again: when the keys cease to count, or when a fetch is
    /// due, because a process must then be started, unless that was just tried.
    pub fn due(&self, now: UnixTime) -> UnixTime {
        /// Interval at which a backend tries to start a fetch that is due.
        const RETRY: Duration = Duration::from_secs(1);
        let retry = now.saturating_add(RETRY);
        let next = self.row.next_attempt.filter(|_| !self.row.is_due(now));
        let next = next.map_or(retry, |next| next.max(retry));
        let end = self.valid_until(now).filter(|end| *end > now);
        end.map_or(next, |end| end.min(next))
    }
}
