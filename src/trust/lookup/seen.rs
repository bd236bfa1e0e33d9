//! State of an endpoint's keys, as a backend judges it: its issuer's rules, and its row of
//! `auth.endpoints`.

use std::time::Duration;

use jwks_rules::fetch_state::{EndpointRow, KeyState};
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

impl Seen {
    /// The time from which on the keys do not count; `None`: they were never fetched.
    pub fn valid_until(&self, now: UnixTime) -> Option<UnixTime> {
        self.row.valid_until(self.max_stale, now)
    }

    /// The state of the keys.
    pub fn state(&self, now: UnixTime) -> KeyState {
        self.row.key_state(self.max_stale, now)
    }

    /// Time at which the row must be read again.
    pub fn due(&self, now: UnixTime) -> UnixTime {
        self.row.read_again_at(self.max_stale, now)
    }
}
