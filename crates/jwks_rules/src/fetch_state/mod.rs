//! The life of a fetch, as a state machine on the issuer's row of `auth.endpoints`.
//!
//! ```text
//!            claim()                            after()
//!   idle ───────────────▶ running ─────────────────────────────▶ idle
//!   outcome: how the      outcome: NULL                          outcome: changed, unchanged,
//!   last fetch ended      next_attempt: when the claim ends      outdated or failed
//! ```
//!
//! [`claim`] begins a fetch, [`after`] ends it: each takes a row and returns the row to be written
//! in its place. The caller locks the row, reads it and writes it in one transaction; between the
//! two transactions it fetches. A process that is killed leaves its claim, which counts for
//! [`CLAIM`](crate::schedule::CLAIM). Time and random numbers are arguments.
//!
//! The same row says how long the fetched keys count: [`EndpointRow::key_state`].
//!
//! The owner may write the table meanwhile. So `after` takes the row as it is then, and changes
//! only the columns that the answer decides; it changes nothing if the row is another fetch's by
//! then.

pub use after::{After, End, Event, after};
pub use claim::{Claim, IssuerRow, claim};
pub use validity::KeyState;

mod after;
mod claim;
mod validity;

use std::time::Duration;

use shared_types::UnixTime;

use crate::schedule::{self, CLAIM, MIN_EARLY};

/// A row of `auth.endpoints`, without its issuer. Fields are named as the columns, which have the
/// same comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// The URL that is fetched.
    pub url: String,
    /// The URL of the keys, as the discovery document names it.
    pub jwks_uri: Option<String>,
    /// The header `ETag` of the last new answer (RFC 9110 §8.8.3).
    pub etag: Option<String>,
    /// A digest of the keys stored then: the ETag is sent while they are the same.
    pub etag_digest: Option<String>,
    /// The header `Date` of the latest answer (RFC 9110 §6.6.1), in whole seconds; never in the
    /// future.
    pub answer_date: Option<UnixTime>,
    /// The header `Last-Modified` of the latest answer (RFC 9110 §8.8.2), as above.
    pub last_modified: Option<UnixTime>,
    /// Time of the last successful fetch, from which `max_stale` counts.
    pub last_success: Option<UnixTime>,
    /// Time at which the last fetch began, by which [`Claim::holds`] knows its own.
    pub last_attempt: Option<UnixTime>,
    /// Outcome of the last fetch; `None` while it runs.
    pub outcome: Option<FetchOutcome>,
    /// Number of failed fetches since the last success.
    pub failures: i32,
    /// Reason why the last fetch failed.
    pub last_error: Option<String>,
    /// Keys that the last success left out, and the reason.
    pub note: Option<String>,
    /// Time at which the next fetch is due; `None`: now.
    pub next_attempt: Option<UnixTime>,
    /// Time from which on a token with an unknown key may cause a fetch; `None`: now.
    pub unknown_key_after: Option<UnixTime>,
    /// Time between two such fetches; the column has whole seconds.
    pub unknown_key_wait: Duration,
}

/// Outcome of a fetch, as the column `outcome` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Keys were stored or deleted.
    Changed,
    /// The stored keys are those that the endpoint has.
    Unchanged,
    /// The answer was older than the stored one.
    Outdated,
    /// There was no answer, or none that counts.
    Failed,
}

/// Reason to begin a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The next fetch was due.
    Due,
    /// A token named an unknown key.
    Early,
    /// `auth.refresh` was called.
    Asked,
}

impl FetchOutcome {
    const ALL: [Self; 4] = [Self::Changed, Self::Unchanged, Self::Outdated, Self::Failed];

    /// The outcome as the column has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Outdated => "outdated",
            Self::Failed => "failed",
        }
    }

    /// The outcome of that name; a failure if it is none of them, which the table's constraint
    /// forbids.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|outcome| outcome.name() == name);
        found.unwrap_or(Self::Failed)
    }
}

/// The row of no URL, for an issuer that has none.
impl Default for EndpointRow {
    fn default() -> Self {
        Self::new("")
    }
}

impl EndpointRow {
    /// The row of a URL that was never fetched.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            jwks_uri: None,
            etag: None,
            etag_digest: None,
            answer_date: None,
            last_modified: None,
            last_success: None,
            last_attempt: None,
            outcome: None,
            failures: 0,
            last_error: None,
            note: None,
            next_attempt: None,
            unknown_key_after: None,
            unknown_key_wait: MIN_EARLY,
        }
    }

    /// The row of the same issuer at `url`. At another URL than before, only the time from which
    /// the stored keys count is kept.
    #[must_use]
    pub fn at(self, url: &str) -> Self {
        if self.url == url {
            return self;
        }
        Self {
            last_success: self.last_success,
            ..Self::new(url)
        }
    }

    /// Whether a fetch is running: one began, and neither ended nor took longer than any does.
    #[must_use]
    pub fn is_running(&self, now: UnixTime) -> bool {
        let began = self.last_attempt.filter(|_| self.outcome.is_none());
        began.is_some_and(|began| began <= now && now < began.saturating_add(CLAIM))
    }

    /// Whether the next fetch is due.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        schedule::is_due(self.next_attempt, now)
    }

    /// Whether a token with an unknown key id may cause a fetch.
    #[must_use]
    pub fn may_be_early(&self, now: UnixTime) -> bool {
        schedule::is_due(self.unknown_key_after, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::LONGEST;

    pub(super) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    /// The time that is that many seconds from [`NOW`].
    pub(super) fn at(seconds: i64) -> Option<UnixTime> {
        let length = Duration::from_secs(seconds.unsigned_abs());
        Some(if seconds < 0 {
            NOW - length
        } else {
            NOW + length
        })
    }

    /// A row with a value in every column.
    pub(super) fn full() -> EndpointRow {
        EndpointRow {
            url: "https://a.example/jwks".to_owned(),
            jwks_uri: Some("https://b.example/jwks".to_owned()),
            etag: Some("\"1\"".to_owned()),
            etag_digest: Some("7".to_owned()),
            answer_date: at(-300),
            last_modified: at(-3_000),
            last_success: at(-300),
            last_attempt: at(-301),
            outcome: Some(FetchOutcome::Unchanged),
            failures: 3,
            last_error: Some("error".to_owned()),
            note: Some("note".to_owned()),
            next_attempt: at(-10),
            unknown_key_after: at(-20),
            unknown_key_wait: Duration::from_secs(60),
        }
    }

    fn any_time() -> impl Strategy<Value = Option<UnixTime>> {
        let near = (-8_000_000_000i64..8_000_000_000)
            .prop_map(|micros| UnixTime::from_micros(NOW.as_micros().saturating_add(micros)));
        prop_oneof![
            3 => near.prop_map(Some),
            1 => any::<i64>().prop_map(UnixTime::from_micros).prop_map(Some),
            1 => prop_oneof![Just(None), Just(Some(UnixTime::MIN)), Just(Some(UnixTime::MAX))],
        ]
    }

    fn any_outcome() -> impl Strategy<Value = Option<FetchOutcome>> {
        prop_oneof![
            Just(None),
            Just(Some(FetchOutcome::Changed)),
            Just(Some(FetchOutcome::Unchanged)),
            Just(Some(FetchOutcome::Outdated)),
            Just(Some(FetchOutcome::Failed)),
        ]
    }

    prop_compose! {
        /// A row as the owner may have written it.
        pub(super) fn any_row()(
            times in proptest::array::uniform6(any_time()),
            outcome in any_outcome(),
            failures: i32,
            seconds in 0..=i32::MAX as u64,
        ) -> EndpointRow {
            let [answer_date, last_modified, last_success, last_attempt, next, early] = times;
            EndpointRow {
                answer_date,
                last_modified,
                last_success,
                last_attempt,
                next_attempt: next,
                unknown_key_after: early,
                outcome,
                failures,
                unknown_key_wait: Duration::from_secs(seconds),
                ..full()
            }
        }
    }

    #[test]
    fn an_outcome_is_read_as_it_is_written() {
        for outcome in FetchOutcome::ALL {
            assert_eq!(FetchOutcome::named(outcome.name()), outcome);
        }
        assert_eq!(FetchOutcome::named("older"), FetchOutcome::Failed);
    }

    #[test]
    fn a_fetch_runs_for_as_long_as_its_claim() {
        let claim = CLAIM.as_secs() as i64;
        for (began, outcome, is_running) in [
            (at(0), None, true),
            (at(-claim + 1), None, true),
            (at(-claim), None, false),
            // The clock was set back.
            (at(1), None, false),
            (Some(UnixTime::MAX), None, false),
            (Some(UnixTime::MIN), None, false),
            (at(0), Some(FetchOutcome::Failed), false),
            (None, None, false),
        ] {
            let row = EndpointRow {
                last_attempt: began,
                outcome,
                ..full()
            };
            assert_eq!(row.is_running(NOW), is_running, "{began:?}, {outcome:?}");
        }
    }

    #[test]
    fn due_is_the_past_and_beyond_any_plan() {
        let longest = LONGEST.as_secs() as i64;
        for (next, is_due) in [
            (None, true),
            (at(0), true),
            (at(-1), true),
            (at(1), false),
            (at(longest), false),
            // The clock was set back.
            (at(longest + 1), true),
            (Some(UnixTime::MAX), true),
            (Some(UnixTime::MIN), true),
        ] {
            let row = EndpointRow {
                next_attempt: next,
                unknown_key_after: next,
                ..full()
            };
            assert_eq!(row.is_due(NOW), is_due, "{next:?}");
            assert_eq!(row.may_be_early(NOW), is_due, "{next:?}");
        }
    }

    #[test]
    fn another_url_keeps_nothing_but_the_time_of_the_keys() {
        assert_eq!(full().at(&full().url), full());
        let moved = full().at("https://c.example/jwks");
        let expected = EndpointRow {
            last_success: at(-300),
            ..EndpointRow::new("https://c.example/jwks")
        };
        assert_eq!(moved, expected);
    }
}
