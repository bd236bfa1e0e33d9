//! Schedule of requests.
//!
//! Times are arguments and answers: the clock is the caller's. Randomness is an argument too:
//! `random` is any number, evenly distributed over its type, and spreads requests that would
//! otherwise come at the same time.

use std::time::Duration;

use shared_types::UnixTime;

/// Time between requests, if the answer does not say how long it may be kept.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Shortest time between requests. A server that allows less would be asked all the time.
pub const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Longest time between requests, before [`jittered`]. A key that the issuer withdraws early stays
/// trusted for no longer, however long the answer may be kept.
pub const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Time after the first failure.
pub const FIRST_RETRY: Duration = Duration::from_secs(10);

/// Longest time after a failure, unless the server asks for more.
pub const MAX_RETRY: Duration = Duration::from_secs(5 * 60);

/// Longest time that a server may ask for by `Retry-After` (RFC 9110 §10.2.3).
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Shortest time from one attempt to an early one, which a token with an unknown key asks for.
/// Anyone can send such a token.
pub const MIN_EARLY: Duration = Duration::from_secs(30);

/// Longest time from one attempt to an early one.
pub const MAX_EARLY: Duration = Duration::from_secs(5 * 60);

/// Time to the next attempt after an answer that is older than the stored one: another server of
/// the same endpoint may have the newer one.
pub const OLDER_ANSWER_RETRY: Duration = Duration::from_secs(60);

/// Time after the last success for which an answer that is older than the stored one is not
/// believed. After that the endpoint itself went back, or its clock.
pub const MAX_OLDER: Duration = Duration::from_secs(60 * 60);

/// Time for which a fetch counts as running: longer than any takes
/// ([`TIMEOUT`](crate::limits::TIMEOUT), and the time to start its process and to store the keys).
/// A process that is killed leaves its claim.
pub const CLAIM: Duration = Duration::from_secs(10);

/// The longest time from now at which a request can be due: this module never returns more.
/// [`MAX_INTERVAL`] and [`MAX_RETRY_AFTER`] with the tenth that is added to them.
pub const LONGEST: Duration = Duration::from_secs(66 * 60);

/// Returns the time to the next request after an answer whose `Cache-Control` has `max_age` and
/// that is `age` seconds old (RFC 9111 §4.2).
///
/// `max-age` less `Age`, between [`MIN_INTERVAL`] and [`MAX_INTERVAL`], then up to 10 % more or
/// less.
#[must_use]
pub fn after_success(max_age: Option<u64>, age: Option<u64>, random: u32) -> Duration {
    let interval = match max_age {
        Some(seconds) => Duration::from_secs(seconds.saturating_sub(age.unwrap_or(0))),
        None => DEFAULT_INTERVAL,
    };
    jittered(interval.clamp(MIN_INTERVAL, MAX_INTERVAL), random)
}

/// Returns the time to the next request after `failures` failures without a success between them.
///
/// [`FIRST_RETRY`], doubling to [`MAX_RETRY`], up to 10 % more or less. `retry_after`, in seconds,
/// makes it longer, to at most [`MAX_RETRY_AFTER`] and up to 10 % more, and never shorter. A
/// request never comes sooner than that was asked for.
#[must_use]
pub fn after_failure(failures: u32, retry_after: Option<u64>, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let back_off = FIRST_RETRY.saturating_mul(1 << doublings).min(MAX_RETRY);
    let asked = Duration::from_secs(retry_after.unwrap_or(0)).min(MAX_RETRY_AFTER);
    if asked > back_off {
        asked.saturating_add(part(tenth(asked), random))
    } else {
        jittered(back_off, random).max(asked)
    }
}

/// Returns the time from an early attempt to the next early one, if the one before waited `wait`.
///
/// [`MIN_EARLY`] after an attempt that changed a key; else twice the time, to [`MAX_EARLY`].
#[must_use]
pub fn after_early(changed: bool, wait: Duration) -> Duration {
    if changed {
        MIN_EARLY
    } else {
        wait.saturating_mul(2).clamp(MIN_EARLY, MAX_EARLY)
    }
}

/// Whether a request planned for `next` is due at `now`; `None` was planned for no time, and is.
///
/// A time that lies further in the future than [`LONGEST`] is due too: it was planned before the
/// clock was set back.
#[must_use]
pub fn is_due(next: Option<UnixTime>, now: UnixTime) -> bool {
    next.is_none_or(|next| next <= now || next.abs_diff(now) > LONGEST)
}

/// `time`, and up to a tenth more or less.
fn jittered(time: Duration, random: u32) -> Duration {
    let tenth = tenth(time);
    time.saturating_sub(tenth)
        .saturating_add(part(tenth.saturating_mul(2), random))
}

fn tenth(time: Duration) -> Duration {
    time.mul_f64(0.1)
}

/// `time`, multiplied by the ratio of `random` to its largest value.
fn part(time: Duration, random: u32) -> Duration {
    time.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    fn seconds(time: Duration) -> u64 {
        (time.as_millis() as u64 + 500) / 1000
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says() {
        let after = |max_age, age| seconds(after_success(max_age, age, MIDDLE));
        assert_eq!(after(None, None), 600);
        assert_eq!(after(None, Some(500)), 600);
        assert_eq!(after(Some(900), None), 900);
        assert_eq!(after(Some(900), Some(300)), 600);
        assert_eq!(after(Some(900), Some(900)), 60);
        assert_eq!(after(Some(900), Some(u64::MAX)), 60);
        assert_eq!(after(Some(0), None), 60);
        assert_eq!(after(Some(86_400), None), 3600);
        assert_eq!(after(Some(u64::MAX), None), 3600);
    }

    #[test]
    fn intervals_differ_by_ten_percent() {
        assert_eq!(seconds(after_success(None, None, 0)), 540);
        assert_eq!(seconds(after_success(None, None, u32::MAX)), 660);
        assert_eq!(seconds(after_failure(1, None, 0)), 9);
        assert_eq!(seconds(after_failure(1, None, u32::MAX)), 11);
    }

    #[test]
    fn failures_back_off_to_five_minutes() {
        let after = |failures| seconds(after_failure(failures, None, MIDDLE));
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6].map(after),
            [10, 10, 20, 40, 80, 160, 300]
        );
        assert_eq!(after(u32::MAX), 300);
    }

    #[test]
    fn retry_after_only_lengthens() {
        let after = |failures, asked| seconds(after_failure(failures, Some(asked), 0));
        assert_eq!(after(1, 120), 120);
        assert_eq!(after(6, 0), 270);
        assert_eq!(after(6, 200), 270);
        assert_eq!(after(1, u64::MAX), 3600);
        assert_eq!(seconds(after_failure(1, Some(u64::MAX), u32::MAX)), 3960);
    }

    #[test]
    fn a_request_never_comes_sooner_than_asked_for() {
        assert!(after_failure(1, Some(120), 0) >= Duration::from_secs(120));
        assert_eq!(seconds(after_failure(6, Some(299), 0)), 299);
        assert_eq!(seconds(after_failure(6, Some(300), 0)), 300);
        // The back-off alone is as long: no part is added to it.
        assert_eq!(seconds(after_failure(6, Some(300), MIDDLE)), 300);
    }

    #[test]
    fn early_attempts_get_rarer_while_they_change_nothing() {
        let mut wait = MIN_EARLY;
        let mut waits = vec![];
        for _ in 0..5 {
            wait = after_early(false, wait);
            waits.push(seconds(wait));
        }
        assert_eq!(waits, [60, 120, 240, 300, 300]);
        assert_eq!(after_early(true, wait), MIN_EARLY);
        assert_eq!(after_early(false, Duration::ZERO), MIN_EARLY);
        assert_eq!(after_early(false, Duration::MAX), MAX_EARLY);
    }

    #[test]
    fn a_time_beyond_the_longest_interval_is_due() {
        let longest = LONGEST.as_micros() as i64;
        let is_due = |now, next| {
            is_due(
                Some(UnixTime::from_micros(next)),
                UnixTime::from_micros(now),
            )
        };
        assert!(is_due(0, 0));
        assert!(is_due(1, 0));
        assert!(!is_due(0, 1));
        assert!(!is_due(0, longest));
        assert!(is_due(0, longest + 1));
        assert!(is_due(i64::MIN, i64::MAX));
        assert!(is_due(i64::MAX, i64::MIN));
        assert!(super::is_due(None, UnixTime::MIN));
    }

    #[test]
    fn a_claim_lasts_longer_than_a_fetch() {
        assert!(CLAIM > crate::limits::TIMEOUT);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_planned_beyond_the_longest_interval(
            max_age: Option<u64>, age: Option<u64>, failures: u32, asked: Option<u64>, random: u32,
        ) {
            let success = after_success(max_age, age, random);
            let failure = after_failure(failures, asked, random);
            proptest::prop_assert!(success <= LONGEST && failure <= LONGEST);
            proptest::prop_assert!(success >= Duration::from_secs(54));
            proptest::prop_assert!(failure >= Duration::from_secs(9));
        }
    }
}
