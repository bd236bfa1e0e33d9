//! Instants and lengths of time, their comparison, and how messages write them. Every conversion
//! between them and numbers is here.

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
    pub(crate) const YEAR_10000: Self = Self::from_seconds(253_402_300_800);

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

    /// So long after it; saturates.
    pub fn saturating_add(self, length: Duration) -> Self {
        WideTime::from(self).plus(length).narrow()
    }

    /// The distance between the two, in either direction.
    pub fn abs_diff(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// Whether it lies in the years 1 to 9999, so that people write it as a date.
    pub(crate) fn is_calendar(self) -> bool {
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
        WideTime::from(self).minus(length).narrow()
    }
}

/// An instant that no JSON number and no sum of a few lengths overflows, so that the rules compare
/// the token's actual value and not a truncated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WideTime(i128);

impl WideTime {
    pub(crate) fn from_seconds(seconds: i128) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND.into()))
    }

    /// Rounded up to the microsecond.
    ///
    /// Near today's dates a double is precise to a quarter of a microsecond, so a number written
    /// with up to six decimals is exact.
    pub(crate) fn from_fractional_seconds(seconds: f64) -> Self {
        // `as` saturates, far beyond any value that is added; JSON has no NaN.
        Self((seconds * MICROS_PER_SECOND as f64).ceil() as i128)
    }

    pub(crate) fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(length.as_micros()))
    }

    pub(crate) fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(length.as_micros()))
    }

    /// The nearest instant that fits 64 bits: the years -290308 to 294247.
    pub(crate) fn narrow(self) -> UnixTime {
        UnixTime(self.0.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

impl From<UnixTime> for WideTime {
    fn from(time: UnixTime) -> Self {
        Self(time.0.into())
    }
}

/// Displays an instant as Unix seconds, with the fraction where it has one.
pub(crate) struct Seconds(pub(crate) UnixTime);

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

/// Displays a length of time, rounded to its two largest units.
pub(crate) struct Roughly(pub(crate) Duration);

impl fmt::Display for Roughly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let (large, small) = match (days, hours, minutes, seconds) {
            (0, 0, 0, 0) => ((self.0.subsec_micros().into(), "us"), (0, "")),
            (0, 0, 0, _) => ((seconds, "s"), (0, "")),
            (0, 0, _, _) => ((minutes, "min"), (seconds % 60, "s")),
            (0, _, _, _) => ((hours, "h"), (minutes, "min")),
            _ => ((days, "d"), (hours, "h")),
        };
        write!(f, "{} {}", large.0, large.1)?;
        match small {
            (0, _) => Ok(()),
            (count, unit) => write!(f, " {count} {unit}"),
        }
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
        for huge in [
            WideTime::from_seconds(u64::MAX.into()),
            WideTime::from_fractional_seconds(1e308),
        ] {
            assert!(huge > WideTime::from(UnixTime::MAX).plus(year));
            assert_eq!(huge.plus(Duration::MAX).narrow(), UnixTime::MAX);
        }
        for tiny in [
            WideTime::from_seconds(i64::MIN.into()),
            WideTime::from_fractional_seconds(-1e308),
        ] {
            assert!(tiny < WideTime::from(UnixTime::MIN).minus(year));
            assert_eq!(tiny.minus(Duration::MAX).narrow(), UnixTime::MIN);
        }
        assert_eq!(WideTime(-1).narrow(), UnixTime(-1));
        assert_eq!(UnixTime::MAX + year, UnixTime::MAX);
        assert_eq!(UnixTime::MIN - year, UnixTime::MIN);
        let all = UnixTime::MIN.abs_diff(UnixTime::MAX);
        assert_eq!(all, Duration::from_micros(u64::MAX));
        assert_eq!(UnixTime::from_seconds(i64::MAX), UnixTime::MAX);
    }

    #[test]
    fn fractions_are_exact_to_the_microsecond() {
        for (seconds, micros) in [
            (1_767_225_600.1, 1_767_225_600_100_000),
            (1_767_225_600.999_999, 1_767_225_600_999_999),
            (-0.5, -500_000),
            (5e-324, 1),
        ] {
            assert_eq!(WideTime::from_fractional_seconds(seconds), WideTime(micros));
        }
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
        for (seconds, text) in [
            (0, "0 us"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (7_260, "2 h 1 min"),
            (3 * 86_400, "3 d"),
            (3 * 86_400 + 7_200, "3 d 2 h"),
        ] {
            assert_eq!(Roughly(Duration::from_secs(seconds)).to_string(), text);
        }
        let most = UnixTime::MIN.abs_diff(UnixTime::MAX);
        assert_eq!(Roughly(most).to_string(), "213503982 d 8 h");
        assert_eq!(Roughly(Duration::from_micros(7)).to_string(), "7 us");
    }
}
