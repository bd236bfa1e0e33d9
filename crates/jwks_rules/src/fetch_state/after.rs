//! The end of a fetch.

use std::time::Duration;

use shared_types::UnixTime;

use crate::fetch_state::{Claim, EndpointRow, FetchOutcome, Reason};
use crate::limits::MAX_STORED_CHARS;
use crate::schedule::{self, MAX_RETRY_AFTER, MIN_EARLY, OLDER_ANSWER_RETRY};
use crate::wire::Answer;

/// End of a fetch, with what is noted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// The stored keys are those of this answer.
    Stored {
        /// The answer.
        answer: &'a Answer,
        /// Whether any had to be written or deleted for that.
        changed: bool,
        /// Keys that were left out, and the reason.
        note: Option<String>,
        /// A digest of the stored keys, if the answer has an ETag.
        digest: Option<String>,
    },
    /// The stored keys are still current (304, RFC 9110 §15.4.5).
    NotModified(&'a Answer),
    /// The answer had other keys and is older than the stored one.
    Outdated,
    /// No answer, or none that counts.
    Failed {
        /// The reason, as a sentence.
        message: String,
        /// The JWK Set's URL, if the discovery document named it before the fetch failed.
        jwks_uri: Option<String>,
        /// The header `Retry-After` (RFC 9110 §10.2.3), in seconds from now.
        retry_after: Option<u64>,
    },
}

impl End<'_> {
    /// A failure of which the endpoint says nothing more.
    #[must_use]
    pub fn failed(message: &str) -> Self {
        Self::Failed {
            message: message.to_owned(),
            jwks_uri: None,
            retry_after: None,
        }
    }

    /// The column `outcome`.
    #[must_use]
    pub fn outcome(&self) -> FetchOutcome {
        match self {
            Self::Stored { changed: true, .. } => FetchOutcome::Changed,
            Self::Stored { changed: false, .. } | Self::NotModified(_) => FetchOutcome::Unchanged,
            Self::Outdated => FetchOutcome::Outdated,
            Self::Failed { .. } => FetchOutcome::Failed,
        }
    }
}

/// An event for the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A success, after failures.
    FetchedAgain,
    /// The keys have ceased to count since the former fetch.
    Stale,
    /// A failure: the first one, and then each time that their number has doubled.
    Failing {
        /// Their number since the last success.
        failures: i32,
    },
}

/// The state after a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The row to be written.
    pub row: EndpointRow,
    /// Events, in their order.
    pub events: Vec<Event>,
}

/// Ends a fetch. Returns `None` if the row is not that of the claim any more. `row` is the row as
/// it is now, and must be locked until the returned one is written. `random` is any number, evenly
/// distributed over its type; it spreads the next fetches.
#[must_use]
pub fn after(
    row: EndpointRow,
    claim: &Claim,
    end: End,
    now: UnixTime,
    random: u32,
) -> Option<After> {
    if !claim.holds(&row) {
        return None;
    }
    let outcome = end.outcome();
    let row = EndpointRow {
        outcome: Some(outcome),
        unknown_key_wait: unknown_key_wait(&row, claim.reason, outcome),
        ..row
    };
    Some(match end {
        End::Stored {
            answer,
            changed,
            note,
            digest,
        } => {
            let row = EndpointRow {
                etag: answer.etag.clone(),
                etag_digest: digest,
                // Keys that differ count from this answer on, whatever dates the one before had.
                answer_date: row.answer_date.filter(|_| !changed),
                last_modified: row.last_modified.filter(|_| !changed),
                note: note.as_deref().map(stored),
                ..row
            };
            succeeded(row, claim, answer, now, random)
        }
        End::NotModified(answer) => succeeded(row, claim, answer, now, random),
        End::Outdated => After {
            row: EndpointRow {
                next_attempt: Some(now.saturating_add(OLDER_ANSWER_RETRY)),
                note: Some(
                    "The endpoint answered with older keys than before, which were not stored."
                        .to_owned(),
                ),
                ..row
            },
            events: Vec::new(),
        },
        End::Failed {
            message,
            jwks_uri,
            retry_after,
        } => {
            // Its host may be the reason: then the owner is told which one to list.
            let row = EndpointRow {
                jwks_uri: jwks_uri.or(row.jwks_uri),
                ..row
            };
            failed(row, claim, &message, retry_after, now, random)
        }
    })
}

fn succeeded(
    row: EndpointRow,
    claim: &Claim,
    answer: &Answer,
    now: UnixTime,
    random: u32,
) -> After {
    // A date in the future would make later answers look older.
    let past = |seconds: i64| UnixTime::from_seconds(seconds).min(now.whole_second());
    let next = schedule::after_success(answer.max_age, answer.age, random);
    // The endpoint answers again, so a token waits no longer than usual.
    let early = claim.began.saturating_add(row.unknown_key_wait);
    let events = (row.failures > 0).then_some(Event::FetchedAgain);
    After {
        row: EndpointRow {
            last_success: Some(now),
            failures: 0,
            last_error: None,
            answer_date: row.answer_date.max(answer.date.map(past)),
            last_modified: row.last_modified.max(answer.last_modified.map(past)),
            jwks_uri: answer.jwks_uri.clone().or(row.jwks_uri),
            next_attempt: Some(now.saturating_add(next)),
            unknown_key_after: row.unknown_key_after.map(|after| after.min(early)),
            ..row
        },
        events: events.into_iter().collect(),
    }
}

fn failed(
    row: EndpointRow,
    claim: &Claim,
    message: &str,
    retry_after: Option<u64>,
    now: UnixTime,
    random: u32,
) -> After {
    let failures = row.failures.max(0).saturating_add(1);
    let count = u32::try_from(failures).unwrap_or(u32::MAX);
    let next = schedule::after_failure(count, retry_after, random);
    // Tokens cause no fetch before the time that the endpoint named either: anyone can send one.
    let silence = retry_after
        .map(|seconds| now.saturating_add(Duration::from_secs(seconds).min(MAX_RETRY_AFTER)));
    let is_stale = |at: UnixTime| claim.end_of_trust.is_some_and(|end| end <= at);
    let became_stale = is_stale(now) && !claim.former_attempt.is_some_and(is_stale);
    let events = [
        became_stale.then_some(Event::Stale),
        count
            .is_power_of_two()
            .then_some(Event::Failing { failures }),
    ];
    After {
        row: EndpointRow {
            failures,
            last_error: Some(stored(message)),
            next_attempt: Some(now.saturating_add(next)),
            unknown_key_after: row.unknown_key_after.max(silence),
            ..row
        },
        events: events.into_iter().flatten().collect(),
    }
}

/// Time between early fetches from now on. It doubles while they change nothing.
fn unknown_key_wait(row: &EndpointRow, reason: Reason, outcome: FetchOutcome) -> Duration {
    match (outcome, reason) {
        (FetchOutcome::Changed, Reason::Due | Reason::Early | Reason::Asked) => MIN_EARLY,
        (
            FetchOutcome::Unchanged | FetchOutcome::Outdated | FetchOutcome::Failed,
            Reason::Early,
        ) => schedule::after_early(false, row.unknown_key_wait),
        (
            FetchOutcome::Unchanged | FetchOutcome::Outdated | FetchOutcome::Failed,
            Reason::Due | Reason::Asked,
        ) => row.unknown_key_wait,
    }
}

/// A sentence, short enough for a column.
fn stored(sentence: &str) -> String {
    shared_types::cut(sentence, MAX_STORED_CHARS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fetch_state::tests::{NOW, any_row, at, full};
    use crate::fetch_state::{IssuerRow, claim};
    use crate::schedule::{CLAIM, LONGEST, MAX_EARLY, MAX_INTERVAL};
    use crate::wire::Outcome;

    /// Plans a time without its spread.
    const MIDDLE: u32 = u32::MAX / 2;

    const REASONS: [Reason; 3] = [Reason::Due, Reason::Early, Reason::Asked];

    fn issuer() -> IssuerRow {
        IssuerRow {
            url: full().url,
            discover: false,
            max_stale: Some(Duration::from_secs(7 * 86_400)),
        }
    }

    /// A claim 2 seconds before [`NOW`], and the row that it left.
    fn claimed(row: EndpointRow, reason: Reason) -> (EndpointRow, Claim) {
        let began = NOW - Duration::from_secs(2);
        let claim = claim(row, &issuer(), reason, began).unwrap();
        (claim.row.clone(), claim)
    }

    fn ended(row: EndpointRow, reason: Reason, end: End) -> After {
        let (row, claim) = claimed(row, reason);
        after(row, &claim, end, NOW, MIDDLE).unwrap()
    }

    fn answer() -> Answer {
        Answer::new(Outcome::Fetched)
    }

    fn new(answer: &Answer, changed: bool) -> End<'_> {
        End::Stored {
            answer,
            changed,
            note: None,
            digest: None,
        }
    }

    fn failure(retry_after: Option<u64>) -> End<'static> {
        End::Failed {
            message: "status 503".to_owned(),
            jwks_uri: None,
            retry_after,
        }
    }

    /// The seconds to the next fetch, as planned.
    fn wait(row: &EndpointRow) -> u64 {
        let next = row.next_attempt.unwrap();
        assert!(next > NOW);
        next.abs_diff(NOW - Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn each_end_writes_its_own_columns() {
        let began = full().at(&full().url);
        let (claimed_row, _) = claimed(began.clone(), Reason::Due);
        let answer = Answer {
            etag: Some("\"2\"".to_owned()),
            jwks_uri: Some("https://d.example/".to_owned()),
            ..answer()
        };
        let stored = End::Stored {
            answer: &answer,
            changed: false,
            note: Some("new note".to_owned()),
            digest: Some("8".to_owned()),
        };
        let succeeded = EndpointRow {
            outcome: Some(FetchOutcome::Unchanged),
            last_success: at(0),
            failures: 0,
            last_error: None,
            ..claimed_row.clone()
        };
        let next = |row: &EndpointRow| EndpointRow {
            next_attempt: None,
            ..row.clone()
        };
        let row = ended(began.clone(), Reason::Due, stored).row;
        let expected = EndpointRow {
            etag: Some("\"2\"".to_owned()),
            etag_digest: Some("8".to_owned()),
            jwks_uri: answer.jwks_uri.clone(),
            note: Some("new note".to_owned()),
            ..succeeded.clone()
        };
        assert_eq!(next(&row), next(&expected));
        // A 304 brings no keys: the ETag and the note are still about the stored ones.
        let unmodified = Answer::new(Outcome::NotModified);
        let row = ended(began.clone(), Reason::Due, End::NotModified(&unmodified)).row;
        assert_eq!(next(&row), next(&succeeded));
        // An older answer says nothing about the keys that count.
        let row = ended(began.clone(), Reason::Due, End::Outdated).row;
        let expected = EndpointRow {
            outcome: Some(FetchOutcome::Outdated),
            note: row.note.clone(),
            next_attempt: at(60),
            ..claimed_row.clone()
        };
        assert_eq!(row, expected);
        assert!(row.note.is_some_and(|note| note.contains("older keys")));
        let row = ended(began, Reason::Due, failure(None)).row;
        let expected = EndpointRow {
            outcome: Some(FetchOutcome::Failed),
            failures: 4,
            last_error: Some("status 503".to_owned()),
            ..claimed_row
        };
        assert_eq!(next(&row), next(&expected));
    }

    #[test]
    fn columns_that_the_owner_changed_meanwhile_are_kept() {
        let (row, claim) = claimed(full(), Reason::Asked);
        let changed = EndpointRow {
            note: Some("the owner's".to_owned()),
            etag: None,
            etag_digest: None,
            jwks_uri: None,
            last_success: at(-900),
            unknown_key_after: at(-900),
            failures: 0,
            ..row
        };
        let end = |end| {
            after(changed.clone(), &claim, end, NOW, MIDDLE)
                .unwrap()
                .row
        };
        let failed = end(failure(None));
        let expected = EndpointRow {
            outcome: Some(FetchOutcome::Failed),
            failures: 1,
            last_error: failed.last_error.clone(),
            next_attempt: failed.next_attempt,
            ..changed.clone()
        };
        assert_eq!(failed, expected);
        let unmodified = Answer::new(Outcome::NotModified);
        let row = end(End::NotModified(&unmodified));
        let expected = EndpointRow {
            outcome: Some(FetchOutcome::Unchanged),
            last_success: at(0),
            last_error: None,
            next_attempt: row.next_attempt,
            ..changed
        };
        assert_eq!(row, expected);
    }

    #[test]
    fn a_row_that_is_another_fetchs_by_now_is_left_alone() {
        let (row, claim) = claimed(full(), Reason::Due);
        let answer = answer();
        let ends = [
            new(&answer, true),
            new(&answer, false),
            End::NotModified(&answer),
            End::Outdated,
            failure(Some(60)),
        ];
        let later = NOW + CLAIM;
        let again = crate::fetch_state::claim(row.clone(), &issuer(), Reason::Due, later).unwrap();
        for end in ends {
            let is_left = |row: EndpointRow| {
                let before = after(row, &claim, end.clone(), NOW, MIDDLE);
                before.is_none()
            };
            assert!(!is_left(row.clone()));
            // Its process took so long that another one began to fetch, and maybe ended already.
            assert!(is_left(again.row.clone()));
            let ended = after(again.row.clone(), &again, failure(None), later, MIDDLE).unwrap();
            assert!(is_left(ended.row));
            // The source is another one, or the same again, or was written by hand.
            assert!(is_left(row.clone().at("https://c.example/jwks")));
            assert!(is_left(EndpointRow::new(&row.url)));
            assert!(is_left(EndpointRow {
                url: "https://c.example/jwks".to_owned(),
                ..row.clone()
            }));
            // The row was restored from a dump, or comes from another server.
            assert!(is_left(full()));
        }
    }

    #[test]
    fn the_next_fetch_is_when_the_answer_says() {
        for (max_age, age, seconds) in [
            (None, None, 600),
            (Some(120), None, 120),
            (Some(1200), Some(600), 600),
            (Some(5), None, 60),
            (Some(31_536_000), None, 3600),
            (Some(600), Some(u64::MAX), 60),
        ] {
            let answer = Answer {
                max_age,
                age,
                ..answer()
            };
            for end in [
                new(&answer, true),
                new(&answer, false),
                End::NotModified(&answer),
            ] {
                let row = ended(full(), Reason::Due, end).row;
                assert_eq!(wait(&row), seconds, "{max_age:?}, {age:?}");
            }
        }
    }

    #[test]
    fn failures_back_off_and_are_told_at_each_doubling() {
        let mut row = EndpointRow {
            failures: 0,
            ..full()
        };
        let (mut waits, mut told) = (vec![], vec![]);
        for count in 1..=9 {
            let end = ended(row, Reason::Asked, failure(None));
            assert_eq!(end.row.failures, count);
            waits.push(wait(&end.row));
            told.extend(end.events);
            row = end.row;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300, 300]);
        let failing = [1, 2, 4, 8].map(|failures| Event::Failing { failures });
        assert_eq!(told, failing);
        // A 304 and a new answer end it, an older one does not.
        let end = ended(row.clone(), Reason::Asked, End::Outdated);
        assert_eq!((end.row.failures, end.events), (9, vec![]));
        let again = Answer::new(Outcome::NotModified);
        let end = ended(row, Reason::Asked, End::NotModified(&again));
        assert_eq!(end.row.failures, 0);
        assert_eq!(end.events, [Event::FetchedAgain]);
        let end = ended(end.row, Reason::Asked, new(&again, true));
        assert_eq!(end.events, []);
    }

    #[test]
    fn a_count_of_failures_stays_in_its_column() {
        let row = |failures| EndpointRow { failures, ..full() };
        let end = ended(row(i32::MAX), Reason::Asked, failure(None));
        assert_eq!((end.row.failures, end.events), (i32::MAX, vec![]));
        assert_eq!(wait(&end.row), 300);
        assert_eq!(ended(row(-5), Reason::Asked, failure(None)).row.failures, 1);
    }

    #[test]
    fn retry_after_silences_tokens_too() {
        for (retry_after, unknown_key_after, next, early) in [
            (None, None, 80, None),
            (None, at(50), 80, at(50)),
            (Some(40), None, 80, at(40)),
            (Some(40), at(50), 80, at(50)),
            (Some(3600), None, 3600, at(3600)),
            (Some(1_000_000_000), at(50), 3600, at(3600)),
            (Some(u64::MAX), None, 3600, at(3600)),
            (Some(0), at(-50), 80, at(0)),
        ] {
            let row = EndpointRow {
                unknown_key_after,
                ..full()
            };
            let row = ended(row, Reason::Asked, failure(retry_after)).row;
            let what = format!("{retry_after:?}, {unknown_key_after:?}");
            assert_eq!(row.unknown_key_after, early, "{what}");
            let longest = next + next / 10;
            assert!((next..=longest).contains(&wait(&row)), "{what}");
        }
    }

    #[test]
    fn a_success_ends_the_silence() {
        // Two seconds before now the fetch began; the wait is a minute.
        for (unknown_key_after, changed, expected) in [
            (at(3600), false, at(58)),
            (at(3600), true, at(28)),
            (at(10), false, at(10)),
            (at(-10), true, at(-10)),
            // If no token has to wait, none has to wait after that.
            (None, false, None),
            (None, true, None),
        ] {
            let row = EndpointRow {
                unknown_key_after,
                ..full()
            };
            let answer = answer();
            let row = ended(row, Reason::Asked, new(&answer, changed)).row;
            assert_eq!(row.unknown_key_after, expected);
        }
    }

    #[test]
    fn early_fetches_get_rarer_while_they_change_nothing() {
        let answer = answer();
        let unmodified = Answer::new(Outcome::NotModified);
        let ends = [
            new(&answer, false),
            End::NotModified(&unmodified),
            End::Outdated,
            failure(None),
        ];
        for end in ends {
            let mut row = EndpointRow {
                unknown_key_after: None,
                unknown_key_wait: MIN_EARLY,
                ..full()
            };
            let mut waits = vec![];
            for _ in 0..5 {
                row = EndpointRow {
                    unknown_key_after: at(-10),
                    ..ended(row, Reason::Early, end.clone()).row
                };
                waits.push(row.unknown_key_wait.as_secs());
            }
            assert_eq!(waits, [60, 120, 240, 300, 300], "{end:?}");
            row.next_attempt = None;
            for reason in [Reason::Due, Reason::Asked] {
                let same = ended(row.clone(), reason, end.clone()).row;
                assert_eq!(same.unknown_key_wait, MAX_EARLY, "{reason:?}");
            }
            for reason in REASONS {
                let back = ended(row.clone(), reason, new(&answer, true)).row;
                assert_eq!(back.unknown_key_wait, MIN_EARLY, "{reason:?}");
            }
        }
    }

    /// The next early fetch is counted from the begin of the one before, by the wait that it had.
    #[test]
    fn a_token_waits_from_the_begin_of_the_early_fetch() {
        let row = EndpointRow {
            unknown_key_after: None,
            ..full()
        };
        let row = ended(row, Reason::Early, failure(None)).row;
        assert_eq!(
            (row.unknown_key_after, row.unknown_key_wait.as_secs()),
            (at(58), 120)
        );
    }

    #[test]
    fn dates_of_answers_only_get_later_until_the_keys_change() {
        let unix = NOW.as_micros() / 1_000_000;
        for (before, said, changed, expected) in [
            (at(-100), Some(-50), false, at(-50)),
            (at(-100), Some(-150), false, at(-100)),
            (at(-100), None, false, at(-100)),
            (None, Some(-50), false, at(-50)),
            (None, None, true, None),
            (at(-100), Some(-50), true, at(-50)),
            (at(-100), Some(-150), true, at(-150)),
            (at(-100), None, true, None),
            // A clock that is ahead would make all later answers look older.
            (at(-100), Some(86_400), false, at(0)),
            (None, Some(i64::MAX), true, at(0)),
            (None, Some(i64::MIN), true, Some(UnixTime::MIN)),
        ] {
            let row = EndpointRow {
                answer_date: before,
                last_modified: before,
                ..full()
            };
            let said = said.map(|seconds: i64| seconds.saturating_add(unix));
            let answer = Answer {
                date: said,
                last_modified: said,
                ..answer()
            };
            let (row, claim) = claimed(row, Reason::Asked);
            // A date has whole seconds.
            let now = NOW + Duration::from_micros(999_999);
            let row = after(row, &claim, new(&answer, changed), now, MIDDLE)
                .unwrap()
                .row;
            assert_eq!((row.answer_date, row.last_modified), (expected, expected));
        }
    }

    #[test]
    fn the_end_of_trust_is_told_once() {
        let week = 7 * 86_400;
        for (last_success, last_attempt, became_stale) in [
            (at(-week), at(-100), true),
            (at(-week + 1), at(-100), false),
            // They were stale at the attempt before.
            (at(-week - 100), at(-100), false),
            (at(-week - 99), at(-100), true),
            (at(-week), None, true),
            (None, at(-100), false),
        ] {
            let row = EndpointRow {
                last_success,
                last_attempt,
                failures: 2,
                ..full()
            };
            let events = ended(row, Reason::Due, failure(None)).events;
            let expected: &[Event] = if became_stale { &[Event::Stale] } else { &[] };
            assert_eq!(events, expected, "{last_success:?}, {last_attempt:?}");
        }
    }

    #[test]
    fn a_failure_keeps_the_url_that_the_document_named() {
        let stored = |row: EndpointRow, named: Option<&str>| {
            let end = End::Failed {
                message: "not listed".to_owned(),
                jwks_uri: named.map(str::to_owned),
                retry_after: None,
            };
            ended(row, Reason::Due, end).row.jwks_uri
        };
        let first = || EndpointRow {
            jwks_uri: None,
            ..full()
        };
        let named = "https://keys.example.com/jwks";
        assert_eq!(stored(first(), Some(named)).as_deref(), Some(named));
        assert_eq!(stored(full(), Some(named)).as_deref(), Some(named));
        // The document itself was not fetched.
        assert_eq!(stored(first(), None), None);
        assert_eq!(stored(full(), None), full().jwks_uri);
        assert_ne!(full().jwks_uri, None);
    }

    #[test]
    fn what_is_stored_of_a_message_is_bounded() {
        let long = "ü".repeat(1_000_000);
        let row = ended(full(), Reason::Due, End::failed(&long)).row;
        let length = row.last_error.unwrap().chars().count();
        assert_eq!(length, MAX_STORED_CHARS + "...".len());
        let answer = answer();
        let stored = End::Stored {
            answer: &answer,
            changed: true,
            note: Some(long),
            digest: None,
        };
        let row = ended(full(), Reason::Due, stored).row;
        let length = row.note.unwrap().chars().count();
        assert_eq!(length, MAX_STORED_CHARS + "...".len());
    }

    prop_compose! {
        fn any_answer()(
            date: Option<i64>, last_modified: Option<i64>, max_age: Option<u64>,
            age: Option<u64>, etag: Option<bool>,
        ) -> Answer {
            Answer {
                date, last_modified, max_age, age,
                etag: etag.map(|_| "\"2\"".to_owned()),
                ..Answer::new(Outcome::Fetched)
            }
        }
    }

    /// A step in the life of a row.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// One of three processes begins a fetch, if it may.
        Claim(usize, Reason),
        /// It ends its fetch, with or without a success.
        End(usize, bool),
        /// The owner has another URL followed, or the same again.
        Follow(bool),
        /// The clock goes on, or is set back, by so many seconds.
        Clock(i64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3usize, proptest::sample::select(&REASONS[..])).prop_map(|(n, why)| Step::Claim(n, why)),
            4 => (0..3usize, any::<bool>()).prop_map(|(n, is_success)| Step::End(n, is_success)),
            1 => any::<bool>().prop_map(Step::Follow),
            3 => prop_oneof![-20..20i64, -7200..7200i64].prop_map(Step::Clock),
        ]
    }

    proptest! {
        /// At most one fetch holds the row, whatever several processes, the owner and the clock do;
        /// the end of another one changes nothing.
        #[test]
        fn one_fetch_at_most_holds_the_row(steps in proptest::collection::vec(any_step(), 1..40)) {
            let urls = ["https://a.example/jwks", "https://b.example/jwks"];
            let mut row = EndpointRow::new(urls[0]);
            let mut claims: [Option<Claim>; 3] = [None, None, None];
            let (mut now, mut url, answer) = (NOW, urls[0], answer());
            for step in steps {
                // No two claims of one issuer begin in the same microsecond.
                now = now + Duration::from_micros(1);
                match step {
                    Step::Claim(process, reason) => {
                        let issuer = IssuerRow { url: url.to_owned(), ..issuer() };
                        if let Some(claim) = claim(row.clone(), &issuer, reason, now) {
                            prop_assert!(!row.is_running(now) || row.url != url);
                            row = claim.row.clone();
                            claims[process] = Some(claim);
                        }
                    }
                    Step::End(process, is_success) => {
                        let Some(claim) = claims[process].take() else { continue };
                        let end = if is_success { new(&answer, false) } else { failure(None) };
                        let before = row.clone();
                        match after(row.clone(), &claim, end, now, MIDDLE) {
                            Some(after) => row = after.row,
                            None => prop_assert!(!claim.holds(&before)),
                        }
                    }
                    Step::Follow(is_other) => {
                        url = if is_other { urls[1] } else { urls[0] };
                        row = row.at(url);
                    }
                    Step::Clock(seconds) => {
                        let length = Duration::from_secs(seconds.unsigned_abs());
                        now = if seconds < 0 { now - length } else { now + length };
                    }
                }
                let holders = claims.iter().flatten().filter(|claim| claim.holds(&row));
                prop_assert!(holders.count() <= 1);
            }
        }

        /// No row, answer or clock keeps an issuer from being fetched again, or its keys for longer
        /// than `max_stale` after a success that was.
        #[test]
        fn every_fetch_is_followed_by_another(
            row in any_row(), answer in any_answer(), which in 0..5, retry_after: Option<u64>,
            reason in prop_oneof![Just(Reason::Due), Just(Reason::Early), Just(Reason::Asked)],
            took in 0..10_000_000u64, random: u32,
        ) {
            let Some(claim) = claim(row.clone(), &issuer(), reason, NOW) else {
                let is_wanted = match reason {
                    Reason::Due => row.is_due(NOW),
                    Reason::Early => row.may_be_early(NOW),
                    Reason::Asked => true,
                };
                prop_assert!(!is_wanted || row.is_running(NOW));
                return Ok(());
            };
            let began = &claim.row;
            prop_assert!(began.is_running(NOW));
            prop_assert!(began.last_success <= row.last_success.min(Some(NOW)));
            prop_assert!(began.answer_date <= Some(NOW) && began.last_modified <= Some(NOW));
            prop_assert!((MIN_EARLY..=MAX_EARLY).contains(&began.unknown_key_wait));
            let now = NOW + Duration::from_micros(took);
            let end = match which {
                0 => End::Stored { answer: &answer, changed: true, note: None, digest: None },
                1 => End::Stored { answer: &answer, changed: false, note: None, digest: None },
                2 => End::NotModified(&answer),
                3 => End::Outdated,
                _ => failure(retry_after),
            };
            let is_success = which < 3;
            let outcome = end.outcome();
            let row = after(began.clone(), &claim, end, now, random).unwrap().row;
            prop_assert_eq!(row.outcome, Some(outcome));
            prop_assert!(!row.is_running(now));
            let next = row.next_attempt.unwrap();
            prop_assert!(now < next && next <= now + LONGEST);
            prop_assert!(!row.is_due(now));
            prop_assert!(row.answer_date <= Some(now) && row.last_modified <= Some(now));
            prop_assert!((MIN_EARLY..=MAX_EARLY).contains(&row.unknown_key_wait));
            prop_assert!(row.failures >= 0);
            if is_success {
                prop_assert_eq!(row.last_success, Some(now));
                prop_assert_eq!(row.failures, 0);
                let most = claim.began + MAX_EARLY;
                prop_assert!(row.unknown_key_after <= Some(most));
                prop_assert!(next <= now + MAX_INTERVAL + MAX_INTERVAL / 10);
            } else {
                prop_assert_eq!(row.last_success, claim.row.last_success);
                prop_assert!(row.unknown_key_after >= claim.row.unknown_key_after);
            }
        }
    }
}
