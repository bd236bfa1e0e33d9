//! The time for which fetched keys count.

use std::time::Duration;

use shared_types::UnixTime;

use crate::fetch_state::EndpointRow;
use crate::schedule::LONGEST;

/// State of an issuer's fetched keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// They were fetched, and count.
    Live,
    /// They were fetched too long ago, and do not count.
    Stale,
    /// They were never fetched.
    Missing,
}

impl KeyState {
    /// Its name in `auth.key_status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// Interval at which a backend tries to start a fetch that is due.
const START_RETRY: Duration = Duration::from_secs(1);

impl EndpointRow {
    /// Time of the last success; `None`: never, or at an unknown time.
    ///
    /// If the clock was ahead then, `last_success` lies in the future, and the keys would count
    /// until long after that. The next claim corrects it. Without one (fetching is off, or on a
    /// standby), the date of the answer is used, by the endpoint's clock.
    #[must_use]
    pub fn fetched_at(&self, now: UnixTime) -> Option<UnixTime> {
        let last = self.last_success?;
        // No plan is further away from the present; a clock that was set by seconds stays below
        // this.
        if last <= now.saturating_add(LONGEST) {
            return Some(last);
        }
        self.answer_date.filter(|answered| *answered <= now)
    }

    /// The time from which on the keys do not count; `None`: they were never fetched. They count
    /// for `max_stale` after the last success, or for ever.
    #[must_use]
    pub fn valid_until(&self, max_stale: Option<Duration>, now: UnixTime) -> Option<UnixTime> {
        self.last_success?;
        Some(match (max_stale, self.fetched_at(now)) {
            (None, _) => UnixTime::MAX,
            (Some(length), Some(fetched)) => fetched.saturating_add(length),
            (Some(_), None) => UnixTime::MIN,
        })
    }

    /// The state of the keys.
    #[must_use]
    pub fn key_state(&self, max_stale: Option<Duration>, now: UnixTime) -> KeyState {
        match self.valid_until(max_stale, now) {
            None => KeyState::Missing,
            Some(end) if end <= now => KeyState::Stale,
            Some(_) => KeyState::Live,
        }
    }

    /// Time at which a backend must read the row again: when the keys cease to count, or when a
    /// fetch is due, because a process must then be started, unless that was just tried.
    #[must_use]
    pub fn read_again_at(&self, max_stale: Option<Duration>, now: UnixTime) -> UnixTime {
        let retry = now.saturating_add(START_RETRY);
        let next = self.next_attempt.filter(|_| !self.is_due(now));
        let next = next.map_or(retry, |next| next.max(retry));
        let end = self.valid_until(max_stale, now).filter(|end| *end > now);
        end.map_or(next, |end| end.min(next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fetch_state::tests::{NOW, any_row, at, full};

    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn keys_count_for_max_stale_after_the_last_success() {
        let longest = LONGEST.as_secs() as i64;
        for (last_success, answer_date, max_stale, valid_until, state) in [
            (None, at(-10), MINUTE, None, KeyState::Missing),
            (None, at(-10), None, None, KeyState::Missing),
            (at(-10), None, MINUTE, at(50), KeyState::Live),
            (at(-59), None, MINUTE, at(1), KeyState::Live),
            (at(-60), None, MINUTE, at(0), KeyState::Stale),
            (at(0), None, Some(Duration::ZERO), at(0), KeyState::Stale),
            (at(-60), None, None, Some(UnixTime::MAX), KeyState::Live),
            (
                at(-60),
                None,
                Some(Duration::MAX),
                Some(UnixTime::MAX),
                KeyState::Live,
            ),
            (
                Some(UnixTime::MIN),
                None,
                MINUTE,
                Some(UnixTime::MIN + Duration::from_secs(60)),
                KeyState::Stale,
            ),
            // A clock that was set by seconds.
            (at(longest), None, MINUTE, at(longest + 60), KeyState::Live),
            // A clock that was far ahead: the endpoint's is used, if that is not ahead too.
            (at(longest + 1), at(-10), MINUTE, at(50), KeyState::Live),
            (at(longest + 1), at(-60), MINUTE, at(0), KeyState::Stale),
            (
                at(longest + 1),
                at(1),
                MINUTE,
                Some(UnixTime::MIN),
                KeyState::Stale,
            ),
            (
                at(longest + 1),
                None,
                MINUTE,
                Some(UnixTime::MIN),
                KeyState::Stale,
            ),
            (
                Some(UnixTime::MAX),
                None,
                None,
                Some(UnixTime::MAX),
                KeyState::Live,
            ),
        ] {
            let row = EndpointRow {
                last_success,
                answer_date,
                ..full()
            };
            let what = format!("{last_success:?}, {answer_date:?}, {max_stale:?}");
            assert_eq!(row.valid_until(max_stale, NOW), valid_until, "{what}");
            assert_eq!(row.key_state(max_stale, NOW), state, "{what}");
        }
    }

    #[test]
    fn a_row_is_read_again_when_a_fetch_is_due_or_the_keys_cease_to_count() {
        for (next_attempt, last_success, max_stale, expected) in [
            (at(600), at(-10), None, at(600)),
            (at(600), at(-10), MINUTE, at(50)),
            (at(20), at(-10), MINUTE, at(20)),
            // A fetch that is due is tried to be started once a second.
            (at(0), at(-10), MINUTE, at(1)),
            (None, at(-10), MINUTE, at(1)),
            (Some(UnixTime::MAX), at(-10), MINUTE, at(1)),
            (Some(NOW + Duration::from_millis(1)), at(-10), MINUTE, at(1)),
            // Stale keys do not become staler.
            (at(600), at(-60), MINUTE, at(600)),
            (at(600), None, MINUTE, at(600)),
            (
                at(600),
                Some(NOW - Duration::from_millis(59_999)),
                MINUTE,
                Some(NOW + Duration::from_millis(1)),
            ),
        ] {
            let row = EndpointRow {
                next_attempt,
                last_success,
                ..full()
            };
            let again = Some(row.read_again_at(max_stale, NOW));
            assert_eq!(again, expected, "{next_attempt:?}, {last_success:?}");
        }
    }

    #[test]
    fn states_are_named_as_the_view_has_them() {
        let names = [KeyState::Live, KeyState::Stale, KeyState::Missing].map(KeyState::name);
        assert_eq!(names, ["live", "stale", "missing"]);
    }

    proptest! {
        /// No row makes keys count that were not fetched, or were fetched longer ago than the rule
        /// says; and each is read again before its keys cease to count.
        #[test]
        fn keys_count_no_longer_than_the_rule_says(row in any_row(), seconds: u32) {
            let length = Duration::from_secs(seconds.into());
            let state = row.key_state(Some(length), NOW);
            let again = row.read_again_at(Some(length), NOW);
            prop_assert!(NOW < again && again <= NOW + LONGEST);
            if state != KeyState::Live {
                return Ok(());
            }
            let fetched = row.fetched_at(NOW).unwrap();
            prop_assert!(row.last_success.is_some());
            prop_assert!(fetched <= NOW + LONGEST);
            prop_assert!(NOW < fetched.saturating_add(length));
            prop_assert!(again <= fetched.saturating_add(length));
        }
    }
}
