//! The beginning of a fetch.

use std::time::Duration;

use shared_types::UnixTime;

use crate::fetch_state::{End, EndpointRow, Reason};
use crate::schedule::{CLAIM, MAX_EARLY, MAX_OLDER, MIN_EARLY};
use crate::wire::{Answer, Outcome};

/// The columns of `auth.issuers` that decide about a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRow {
    /// The URL in its `source`.
    pub url: String,
    /// Whether the URL is that of a discovery document.
    pub discover: bool,
    /// Time for which keys count without a success; `None`: for ever.
    pub max_stale: Option<Duration>,
}

/// A fetch that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The row to be written.
    pub row: EndpointRow,
    /// The reason why it began.
    pub reason: Reason,
    /// The time at which it began, which is the row's `last_attempt`.
    pub began: UnixTime,
    /// Whether the URL is that of a discovery document.
    pub discover: bool,
    /// The ETag to be sent (`If-None-Match`, RFC 9110 §13.1.2); see [`send_etag`](Self::send_etag).
    pub etag: Option<String>,
    /// The time at which the fetch before began; `None` if there was none of this URL.
    pub(super) former_attempt: Option<UnixTime>,
    /// The row's former `last_success`: in the future if the clock was set back.
    former_success: Option<UnixTime>,
    /// The time from which on the stored keys do not count without a success; `None`: never, or
    /// there are none.
    pub(super) end_of_trust: Option<UnixTime>,
}

/// Begins a fetch. Returns `None` if nothing is due, or if another fetch is running. `row` must be
/// locked until the claim's row is written.
///
/// If the clock was set back, times that were noted before lie in the future. They become the
/// present, which limits how long the keys still count, and how long a newer answer looks older.
#[must_use]
pub fn claim(row: EndpointRow, issuer: &IssuerRow, reason: Reason, now: UnixTime) -> Option<Claim> {
    // The row has another URL if the source was written by hand.
    let mut row = row.at(&issuer.url);
    let is_wanted = match reason {
        Reason::Due => row.is_due(now),
        Reason::Early => row.may_be_early(now),
        Reason::Asked => true,
    };
    if !is_wanted || row.is_running(now) {
        return None;
    }
    let (former_attempt, former_success) = (row.last_attempt, row.last_success);
    let second = now.whole_second();
    row.last_success = former_success.map(|last| last.min(now));
    row.answer_date = row.answer_date.map(|date| date.min(second));
    row.last_modified = row.last_modified.map(|date| date.min(second));
    row.failures = row.failures.max(0);
    row.unknown_key_wait = row.unknown_key_wait.clamp(MIN_EARLY, MAX_EARLY);
    if reason == Reason::Early {
        row.unknown_key_after = Some(now.saturating_add(row.unknown_key_wait));
    }
    row.last_attempt = Some(now);
    // The fetch is due again then, if this process is killed.
    row.next_attempt = Some(now.saturating_add(CLAIM));
    row.outcome = None;
    let lasts = row.last_success.zip(issuer.max_stale);
    Some(Claim {
        reason,
        began: now,
        discover: issuer.discover,
        etag: None,
        former_attempt,
        former_success,
        end_of_trust: lasts.map(|(last, length)| last.saturating_add(length)),
        row,
    })
}

impl Claim {
    /// Whether the row still is that of this fetch: no other fetch has begun since, and the URL is
    /// the same.
    #[must_use]
    pub fn holds(&self, row: &EndpointRow) -> bool {
        row.last_attempt == Some(self.began) && row.url == self.row.url
    }

    /// Whether the row has an ETag that may be sent. An ETag belongs to one URL (RFC 9110 §8.8.3),
    /// and a discovery document may name another one each time.
    #[must_use]
    pub fn has_etag(&self) -> bool {
        !self.discover && self.row.etag.is_some() && self.row.etag_digest.is_some()
    }

    /// Sends the ETag, if the stored keys, which have this digest, are those that came with it.
    pub fn send_etag(&mut self, digest: Option<&str>) {
        let is_current = digest.is_some() && self.row.etag_digest.as_deref() == digest;
        self.etag = self
            .row
            .etag
            .clone()
            .filter(|_| is_current && self.has_etag());
    }

    /// The end of the fetch, if its answer has no keys; `None` if it has.
    #[must_use]
    pub fn end_without_keys<'a>(&self, answer: &'a Answer) -> Option<End<'a>> {
        match answer.outcome {
            Outcome::Failed => {
                let error = answer.error.as_ref();
                let message = error.map_or("no answer", |error| error.message.as_str());
                Some(End::Failed {
                    message: message.to_owned(),
                    jwks_uri: answer.jwks_uri.clone(),
                    retry_after: answer.retry_after,
                })
            }
            Outcome::NotModified if self.etag.is_none() => Some(End::failed(
                "the endpoint says that nothing was modified, and was not asked that",
            )),
            Outcome::NotModified => Some(End::NotModified(answer)),
            Outcome::Fetched => None,
        }
    }

    /// Whether an answer with other keys is older than the stored one, by `Last-Modified` if both
    /// have it, else by `Date`: another server of the same endpoint, or a cache (RFC 9111 §4), may
    /// not know the newer one yet. Not for longer than [`MAX_OLDER`] after the last success.
    #[must_use]
    pub fn is_outdated(&self, answer: &Answer) -> bool {
        let seconds = |time: Option<i64>| time.map(UnixTime::from_seconds);
        let modified = self.row.last_modified.zip(seconds(answer.last_modified));
        let dates = self.row.answer_date.zip(seconds(answer.date));
        let is_older = modified.or(dates).is_some_and(|(stored, new)| new < stored);
        let since = self.former_success.unwrap_or(UnixTime::MIN);
        // A success that lies in the future is no measure: the clock was set back.
        is_older && since <= self.began && self.began < since.saturating_add(MAX_OLDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch_state::FetchOutcome;
    use crate::fetch_state::tests::{NOW, at, full};
    use crate::wire::{Failure, FailureKind};

    const DAY: i64 = 86_400;

    fn issuer() -> IssuerRow {
        IssuerRow {
            url: full().url,
            discover: false,
            max_stale: Some(Duration::from_secs(7 * DAY as u64)),
        }
    }

    fn claimed(row: EndpointRow, reason: Reason) -> Claim {
        claim(row, &issuer(), reason, NOW).unwrap()
    }

    fn is_claimed(row: EndpointRow, reason: Reason) -> bool {
        claim(row, &issuer(), reason, NOW).is_some()
    }

    #[test]
    fn a_claim_notes_that_the_fetch_runs_and_nothing_else() {
        let expected = EndpointRow {
            last_attempt: at(0),
            next_attempt: Some(NOW + CLAIM),
            outcome: None,
            ..full()
        };
        assert_eq!(claimed(full(), Reason::Due).row, expected);
        assert_eq!(claimed(full(), Reason::Asked).row, expected);
        let early = EndpointRow {
            unknown_key_after: at(60),
            ..expected
        };
        assert_eq!(claimed(full(), Reason::Early).row, early);
        assert_eq!(claimed(full(), Reason::Due).began, NOW);
        // The first one of all.
        let first = claimed(EndpointRow::new(&issuer().url), Reason::Early).row;
        let expected = EndpointRow {
            last_attempt: at(0),
            next_attempt: Some(NOW + CLAIM),
            unknown_key_after: at(30),
            ..EndpointRow::new(&issuer().url)
        };
        assert_eq!(first, expected);
    }

    #[test]
    fn each_reason_has_its_own_time() {
        for (next_attempt, unknown_key_after, due, early) in [
            (at(0), at(0), true, true),
            (at(1), at(0), false, true),
            (at(0), at(1), true, false),
            (at(1), at(1), false, false),
            (None, None, true, true),
            // The clock was set back by a day.
            (at(DAY), at(DAY), true, true),
            (Some(UnixTime::MAX), Some(UnixTime::MIN), true, true),
        ] {
            let row = || EndpointRow {
                next_attempt,
                unknown_key_after,
                ..full()
            };
            let what = format!("{next_attempt:?}, {unknown_key_after:?}");
            assert_eq!(is_claimed(row(), Reason::Due), due, "{what}");
            assert_eq!(is_claimed(row(), Reason::Early), early, "{what}");
            assert!(is_claimed(row(), Reason::Asked), "{what}");
        }
    }

    #[test]
    fn a_fetch_that_runs_is_not_overtaken() {
        for reason in [Reason::Due, Reason::Early, Reason::Asked] {
            let claim = claimed(full(), reason);
            let again = |now| super::claim(claim.row.clone(), &issuer(), Reason::Asked, now);
            assert!(again(NOW).is_none());
            assert!(again(NOW + CLAIM - Duration::from_micros(1)).is_none());
            // Its process was killed.
            assert!(again(NOW + CLAIM).is_some());
            let due = super::claim(claim.row.clone(), &issuer(), Reason::Due, NOW + CLAIM);
            assert!(due.is_some());
            // The clock was set back.
            assert!(again(NOW - Duration::from_secs(1)).is_some());
        }
    }

    #[test]
    fn another_url_is_fetched_at_once() {
        let waits = EndpointRow {
            next_attempt: at(600),
            unknown_key_after: at(300),
            last_attempt: at(-1),
            outcome: None,
            ..full()
        };
        let moved = IssuerRow {
            url: "https://c.example/".to_owned(),
            ..issuer()
        };
        for reason in [Reason::Due, Reason::Early, Reason::Asked] {
            assert!(!is_claimed(waits.clone(), reason));
            let claim = super::claim(waits.clone(), &moved, reason, NOW).unwrap();
            let expected = EndpointRow {
                last_attempt: at(0),
                next_attempt: Some(NOW + CLAIM),
                last_success: at(-300),
                unknown_key_after: at(30).filter(|_| reason == Reason::Early),
                ..EndpointRow::new(&moved.url)
            };
            assert_eq!(claim.row, expected);
            assert!(!claim.has_etag());
        }
    }

    #[test]
    fn times_of_a_clock_that_was_set_back_become_the_present() {
        for ahead in [at(1), at(DAY), at(365 * DAY), Some(UnixTime::MAX)] {
            let row = EndpointRow {
                last_success: ahead,
                last_attempt: ahead,
                next_attempt: ahead,
                answer_date: ahead,
                last_modified: ahead,
                ..full()
            };
            // A date of an answer has whole seconds: one that is as new must not look older.
            let now = NOW + Duration::from_micros(999_999);
            let claim = super::claim(row, &issuer(), Reason::Asked, now).unwrap();
            let expected = EndpointRow {
                last_success: Some(now),
                last_attempt: Some(now),
                next_attempt: Some(now + CLAIM),
                answer_date: Some(NOW),
                last_modified: Some(NOW),
                outcome: None,
                ..full()
            };
            assert_eq!(claim.row, expected, "{ahead:?}");
            let seven_days = Duration::from_secs(7 * DAY as u64);
            assert_eq!(claim.end_of_trust, Some(now + seven_days));
        }
    }

    #[test]
    fn the_keys_count_for_max_stale_after_the_last_success() {
        let end = |last_success, max_stale| {
            let row = EndpointRow {
                last_success,
                ..full()
            };
            let issuer = IssuerRow {
                max_stale,
                ..issuer()
            };
            super::claim(row, &issuer, Reason::Asked, NOW)
                .unwrap()
                .end_of_trust
        };
        let minute = Some(Duration::from_secs(60));
        assert_eq!(end(at(-10), minute), at(50));
        assert_eq!(end(at(-100), minute), at(-40));
        assert_eq!(end(at(-10), None), None);
        assert_eq!(end(None, minute), None);
        assert_eq!(end(at(0), Some(Duration::MAX)), Some(UnixTime::MAX));
        assert_eq!(
            end(Some(UnixTime::MIN), Some(Duration::ZERO)),
            Some(UnixTime::MIN)
        );
    }

    #[test]
    fn what_the_owner_wrote_is_brought_into_bounds() {
        for (seconds, clamped) in [(0, 30), (29, 30), (45, 45), (301, 300), (u64::MAX, 300)] {
            let row = EndpointRow {
                unknown_key_wait: Duration::from_secs(seconds),
                failures: -5,
                ..full()
            };
            let claim = claimed(row, Reason::Early);
            assert_eq!(claim.row.unknown_key_wait.as_secs(), clamped);
            assert_eq!(claim.row.unknown_key_after, at(clamped as i64));
            assert_eq!(claim.row.failures, 0);
        }
    }

    #[test]
    fn an_etag_is_sent_while_the_rows_are_those_that_came_with_it() {
        let sent = |row: EndpointRow, discover, digest| {
            let issuer = IssuerRow {
                discover,
                ..issuer()
            };
            let mut claim = claim(row, &issuer, Reason::Asked, NOW).unwrap();
            assert_eq!(claim.etag, None);
            claim.send_etag(digest);
            assert!(claim.etag.is_none() || claim.has_etag());
            claim.etag
        };
        assert_eq!(sent(full(), false, Some("7")).as_deref(), Some("\"1\""));
        assert_eq!(sent(full(), false, Some("8")), None);
        assert_eq!(sent(full(), false, None), None);
        assert_eq!(sent(full(), true, Some("7")), None);
        let without = |etag: Option<&str>, digest: Option<&str>| EndpointRow {
            etag: etag.map(str::to_owned),
            etag_digest: digest.map(str::to_owned),
            ..full()
        };
        assert_eq!(sent(without(None, Some("7")), false, Some("7")), None);
        assert_eq!(sent(without(Some("\"1\""), None), false, Some("7")), None);
        assert_eq!(sent(without(Some("\"1\""), None), false, None), None);
    }

    #[test]
    fn an_answer_is_a_failure_or_unmodified_or_new() {
        let mut claim = claimed(full(), Reason::Due);
        let new = |outcome| Answer::new(outcome);
        assert_eq!(claim.end_without_keys(&new(Outcome::Fetched)), None);
        let failure = Failure::new(FailureKind::Status, "status 503");
        let named = Some("https://keys.example.com/jwks".to_owned());
        let failed = Answer {
            jwks_uri: named.clone(),
            retry_after: Some(7),
            ..Answer::failed(failure)
        };
        let expected = End::Failed {
            message: "status 503".to_owned(),
            jwks_uri: named,
            retry_after: Some(7),
        };
        assert_eq!(claim.end_without_keys(&failed), Some(expected));
        let silent = new(Outcome::Failed);
        assert_eq!(
            claim.end_without_keys(&silent),
            Some(End::failed("no answer"))
        );
        // A 304 without an If-None-Match says nothing about the rows.
        let unmodified = new(Outcome::NotModified);
        let unasked = claim.end_without_keys(&unmodified).unwrap();
        assert_eq!(unasked.outcome(), FetchOutcome::Failed);
        claim.send_etag(Some("7"));
        let asked = claim.end_without_keys(&unmodified);
        assert_eq!(asked, Some(End::NotModified(&unmodified)));
    }

    #[test]
    fn an_older_answer_is_told_by_its_headers_for_an_hour() {
        let unix = NOW.as_micros() / 1_000_000;
        let hour = 3_600;
        /// Seconds from now: of the row's `last_modified`, `answer_date` and `last_success`, and of
        /// the answer's `Last-Modified` and `Date`.
        struct Case(
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
        );
        for (what, is_outdated, case) in [
            (
                "older by date",
                true,
                Case(None, Some(-100), Some(-90), None, Some(-101)),
            ),
            (
                "as old",
                false,
                Case(None, Some(-100), Some(-90), None, Some(-100)),
            ),
            (
                "newer",
                false,
                Case(None, Some(-100), Some(-90), None, Some(-99)),
            ),
            (
                "older by change",
                true,
                Case(Some(-100), None, Some(-90), Some(-101), None),
            ),
            (
                "newer by change, from a slow clock",
                false,
                Case(Some(-100), Some(-100), Some(-90), Some(-99), Some(-4000)),
            ),
            (
                "older by change, though sent later",
                true,
                Case(Some(-100), Some(-100), Some(-90), Some(-101), Some(0)),
            ),
            (
                "by date, as one of the two says no change",
                true,
                Case(Some(-100), Some(-100), Some(-90), None, Some(-101)),
            ),
            (
                "nothing stored",
                false,
                Case(None, None, Some(-90), Some(-101), Some(-101)),
            ),
            (
                "nothing said",
                false,
                Case(Some(-100), Some(-100), Some(-90), None, None),
            ),
            (
                "within the hour",
                true,
                Case(None, Some(-100), Some(-hour + 1), None, Some(-4000)),
            ),
            (
                "after the hour",
                false,
                Case(None, Some(-100), Some(-hour), None, Some(-4000)),
            ),
            (
                "never fetched",
                false,
                Case(None, Some(-100), None, None, Some(-101)),
            ),
            // The clock was set back: nothing is compared with a success of the future.
            (
                "fetched in the future",
                false,
                Case(None, Some(-100), Some(1), None, Some(-101)),
            ),
            (
                "fetched now",
                true,
                Case(None, Some(-100), Some(0), None, Some(-101)),
            ),
        ] {
            let Case(last_modified, answer_date, last_success, modified, date) = case;
            let row = EndpointRow {
                last_modified: last_modified.and_then(at),
                answer_date: answer_date.and_then(at),
                last_success: last_success.and_then(at),
                ..full()
            };
            let answer = Answer {
                last_modified: modified.map(|seconds| unix + seconds),
                date: date.map(|seconds| unix + seconds),
                ..Answer::new(Outcome::Fetched)
            };
            let claim = claimed(row, Reason::Asked);
            assert_eq!(claim.is_outdated(&answer), is_outdated, "{what}");
        }
    }

    /// An answer of this second is not older than one whose date was ahead of a clock that was set
    /// back.
    #[test]
    fn an_answer_of_this_second_is_new() {
        let now = NOW + Duration::from_micros(999_999);
        for ahead in [at(DAY), Some(UnixTime::MAX)] {
            let row = EndpointRow {
                answer_date: ahead,
                last_modified: ahead,
                ..full()
            };
            let claim = super::claim(row, &issuer(), Reason::Asked, now).unwrap();
            let second = Some(NOW.as_micros() / 1_000_000);
            for (date, last_modified) in [(second, None), (None, second), (second, second)] {
                let answer = Answer {
                    date,
                    last_modified,
                    ..Answer::new(Outcome::Fetched)
                };
                assert!(!claim.is_outdated(&answer), "{answer:?}");
            }
        }
    }
}
