//! Instants, and how messages write them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// An instant: microseconds since 1970-01-01 00:00:00 UTC.
///
/// The crate has no clock: every time is an argument. Displayed as a date in
/// the years 1 to 9999, beyond these as seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// Before every other instant; displayed as `-infinity`.
    pub const MIN: Self = Self(i64::MIN);

    /// After every other instant; displayed as `infinity`.
    pub const MAX: Self = Self(i64::MAX);

    /// 0001-01-01 00:00:00 UTC.
    const YEAR_1: Self = Self::from_seconds(-62_135_596_800);

    /// 10000-01-01 00:00:00 UTC: the end of the years that people write.
    pub const YEAR_10000: Self = Self::from_seconds(253_402_300_800);

    /// This number of microseconds after 1970-01-01 00:00:00 UTC, or before.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// This number of seconds after 1970-01-01 00:00:00 UTC, or before; saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since 1970-01-01 00:00:00 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The nearest instant that fits 64 bits: the years -290308 to 294247.
    pub fn nearest(micros: i128) -> Self {
        Self(micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// The second that it lies in, as HTTP's dates have it (RFC 9110 §5.6.7): rounded down.
    pub const fn whole_second(self) -> Self {
        Self::from_seconds(self.0.div_euclid(MICROS_PER_SECOND))
    }

    /// Instant so long after it; saturates.
    pub fn saturating_add(self, length: Duration) -> Self {
        Self::nearest(i128::from(self.0).saturating_add_unsigned(length.as_micros()))
    }

    /// The distance between the two, in either direction.
    pub fn abs_diff(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// Whether it lies in the years 1 to 9999, so that people write it as a date.
    pub fn is_calendar(self) -> bool {
        (Self::YEAR_1..Self::YEAR_10000).contains(&self)
    }
}

/// Saturates.
impl Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        self.saturating_add(length)
    }
}

/// Saturates.
impl Sub<Duration> for UnixTime {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self::nearest(i128::from(self.0).saturating_sub_unsigned(length.as_micros()))
    }
}

/// Displays an instant as Unix seconds, with the fraction if it has one.
pub struct Seconds(pub UnixTime);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0.0 < 0 { "-" } else { "" };
        let micros = self.0.0.unsigned_abs();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{sign}{seconds}")?;
        if rest != 0 {
            let digits = format!("{rest:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => return f.write_str("-infinity"),
            Self::MAX => return f.write_str("infinity"),
            time if time.is_calendar() => {}
            other => return write!(f, "{} seconds since 1970", Seconds(other)),
        }
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Days since 1970-01-01 to year, month and day of the Gregorian calendar
/// (Howard Hinnant's `civil_from_days`).
#[allow(
    clippy::arithmetic_side_effects,
    reason = "|days| is at most 2^63 / 86.4e9, about 1.1e8: nothing here overflows"
)]
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_wraps() {
        let year = Duration::from_secs(366 * 86_400);
        assert_eq!(UnixTime::MAX + year, UnixTime::MAX);
        assert_eq!(UnixTime::MIN - year, UnixTime::MIN);
        assert_eq!(UnixTime::nearest(i128::MAX), UnixTime::MAX);
        assert_eq!(UnixTime::nearest(-1), UnixTime(-1));
        let all = UnixTime::MIN.abs_diff(UnixTime::MAX);
        assert_eq!(all, Duration::from_micros(u64::MAX));
        assert_eq!(UnixTime::from_seconds(i64::MAX), UnixTime::MAX);
    }

    #[test]
    fn a_whole_second_is_never_later() {
        for (micros, second) in [(0, 0), (999_999, 0), (1_000_000, 1), (-1, -1)] {
            let expected = UnixTime::from_seconds(second);
            assert_eq!(UnixTime(micros).whole_second(), expected, "{micros}");
        }
        assert_eq!(UnixTime::MIN.whole_second(), UnixTime::MIN);
        assert!(UnixTime::MAX.whole_second() < UnixTime::MAX);
    }

    #[test]
    fn displays() {
        assert_eq!(Seconds(UnixTime(1_500_000)).to_string(), "1.5");
        assert_eq!(Seconds(UnixTime(-1)).to_string(), "-0.000001");
        let time = UnixTime::from_seconds(1_700_000_000);
        assert_eq!(Seconds(time).to_string(), "1700000000");
        for (time, text) in [
            (time, "2023-11-14 22:13:20 UTC"),
            (UnixTime(-1), "1969-12-31 23:59:59 UTC"),
            (
                UnixTime::from_seconds(951_782_400),
                "2000-02-29 00:00:00 UTC",
            ),
            (UnixTime::YEAR_1, "0001-01-01 00:00:00 UTC"),
            (
                UnixTime(UnixTime::YEAR_1.0 - 1),
                "-62135596800.000001 seconds since 1970",
            ),
            (
                UnixTime(UnixTime::YEAR_10000.0 - 1),
                "9999-12-31 23:59:59 UTC",
            ),
            (UnixTime::YEAR_10000, "253402300800 seconds since 1970"),
            (UnixTime::MIN, "-infinity"),
            (UnixTime::MAX, "infinity"),
        ] {
            assert_eq!(time.to_string(), text);
        }
    }
}
