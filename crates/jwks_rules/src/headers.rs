//! Headers of an answer about its age and about the next request.
//!
//! A header that cannot be read counts as absent: none of them decides about trust.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::MAX_ETAG_BYTES;

/// Reads a date (RFC 9110 §5.6.7), in Unix seconds.
#[must_use]
pub fn date(value: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Reads `max-age` out of a `Cache-Control` (RFC 9111 §5.2.2.1), in seconds.
///
/// Returns the smallest of several. The rest of the header is ignored: `no-store` and `no-cache`
/// are about caches that other parties share, and keys are kept here in any case.
#[must_use]
pub fn max_age(value: &str) -> Option<u64> {
    let directives = value.split(',').filter_map(|directive| {
        let (name, argument) = directive.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("max-age")
            .then(|| seconds(argument.trim().trim_matches('"')))
            .flatten()
    });
    directives.min()
}

/// Reads a number of seconds (RFC 9111 §1.2.2). One that is too large for 64 bits is the largest.
#[must_use]
pub fn seconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

/// Reads a `Retry-After` (RFC 9110 §10.2.3), which is a number of seconds or a date, as seconds
/// from `now`.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<u64> {
    seconds(value).or_else(|| {
        let then = httpdate::parse_http_date(value.trim()).ok()?;
        Some(then.duration_since(now).map_or(0, |time| time.as_secs()))
    })
}

/// Reads an entity tag (RFC 9110 §8.8.3), which goes back to the server as it is.
#[must_use]
pub fn etag(value: &str) -> Option<&str> {
    let tag = value.strip_prefix("W/").unwrap_or(value);
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_tag = inner.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    (is_tag && value.len() <= MAX_ETAG_BYTES).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_dates() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        for text in [
            "",
            "0",
            "now",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "\u{661}",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn reads_max_age() {
        assert_eq!(max_age("max-age=600"), Some(600));
        assert_eq!(
            max_age("public, Max-Age = \"600\" , must-revalidate"),
            Some(600)
        );
        assert_eq!(max_age("max-age=600, max-age=60"), Some(60));
        assert_eq!(max_age("max-age=99999999999999999999999"), Some(u64::MAX));
        assert_eq!(max_age("no-store, max-age=0"), Some(0));
        for text in [
            "",
            "no-store",
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=soon",
            "s-maxage=600",
        ] {
            assert_eq!(max_age(text), None, "{text}");
        }
    }

    #[test]
    fn reads_retry_after() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        assert_eq!(retry_after("120", now), Some(120));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(90));
        assert_eq!(retry_after("Sat, 05 Nov 1994 08:49:37 GMT", now), Some(0));
        assert_eq!(retry_after(&"9".repeat(30), now), Some(u64::MAX));
        for text in ["soon", "-1800", ""] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }

    #[test]
    fn reads_entity_tags() {
        for text in ["\"abc\"", "W/\"abc\"", "\"\""] {
            assert_eq!(etag(text), Some(text));
        }
        let long = format!("\"{}\"", "a".repeat(MAX_ETAG_BYTES));
        for text in [
            "abc",
            "\"abc",
            "\"",
            "w/\"abc\"",
            "\"a\"b\"",
            "\"a b\"",
            "\"a\r\n\"",
            &long,
        ] {
            assert_eq!(etag(text), None, "{text}");
        }
    }
}
