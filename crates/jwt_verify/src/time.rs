//! Points in time as integers, and how messages write them.

use std::fmt;

/// Microseconds since 1970-01-01 00:00:00 UTC, or a span of microseconds.
///
/// The crate has no clock: every time is an argument.
pub type UnixMicros = i64;

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;

/// 0001-01-01 00:00:00 UTC.
pub(crate) const YEAR_1: UnixMicros = -62_135_596_800 * MICROS_PER_SECOND;

/// 10000-01-01 00:00:00 UTC: the end of the years that people write.
pub(crate) const YEAR_10000: UnixMicros = 253_402_300_800 * MICROS_PER_SECOND;

/// A time or span that no JSON number and no sum of a few overflows, so that
/// the rules compare what the token says and not what was cut off.
pub(crate) type WideMicros = i128;

/// Whole seconds as microseconds.
pub(crate) fn from_seconds(seconds: impl Into<i128>) -> WideMicros {
    seconds.into().saturating_mul(MICROS_PER_SECOND.into())
}

/// Fractional seconds as microseconds, rounded up.
///
/// Near today's dates a double holds a quarter of a microsecond, so what was
/// written with up to six decimals comes out exactly.
pub(crate) fn from_fractional_seconds(seconds: f64) -> WideMicros {
    // `as` saturates, far beyond what is ever added; JSON has no NaN.
    (seconds * MICROS_PER_SECOND as f64).ceil() as i128
}

/// The nearest time that 64 bits hold: the years -290308 to 294247.
pub(crate) fn narrow(micros: WideMicros) -> UnixMicros {
    micros.clamp(UnixMicros::MIN.into(), UnixMicros::MAX.into()) as UnixMicros
}

/// Displays a time as Unix seconds, with its fraction where it has one.
pub(crate) struct Seconds(pub(crate) UnixMicros);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{sign}{seconds}")?;
        if rest != 0 {
            let digits = format!("{rest:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// Displays a time as a date in UTC, for people; one outside of the years 1 to
/// 9999 as seconds, and the ends of the range as infinities.
pub(crate) struct Date(pub(crate) UnixMicros);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UnixMicros::MIN => return f.write_str("-infinity"),
            UnixMicros::MAX => return f.write_str("infinity"),
            YEAR_1..YEAR_10000 => {}
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

/// Displays a span roughly, in its largest two units.
pub(crate) struct Span(pub(crate) UnixMicros);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.unsigned_abs();
        let seconds = micros / 1_000_000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let (large, small) = match (days, hours, minutes, seconds) {
            (0, 0, 0, 0) => ((micros, "us"), (0, "")),
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
        let year = 366 * 86_400 * 1_000_000;
        for huge in [from_seconds(u64::MAX), from_fractional_seconds(1e308)] {
            assert!(huge > i128::from(i64::MAX) + year);
            assert_eq!(narrow(huge), i64::MAX);
        }
        for tiny in [from_seconds(i64::MIN), from_fractional_seconds(-1e308)] {
            assert!(tiny < i128::from(i64::MIN) - year);
            assert_eq!(narrow(tiny), i64::MIN);
        }
        assert_eq!(narrow(-1), -1);
    }

    #[test]
    fn fractions_are_exact_to_the_microsecond() {
        for (seconds, micros) in [
            (1_767_225_600.1, 1_767_225_600_100_000),
            (1_767_225_600.999_999, 1_767_225_600_999_999),
            (-0.5, -500_000),
            (5e-324, 1),
        ] {
            assert_eq!(from_fractional_seconds(seconds), micros);
        }
    }

    #[test]
    fn displays() {
        assert_eq!(Seconds(1_500_000).to_string(), "1.5");
        assert_eq!(Seconds(-1).to_string(), "-0.000001");
        assert_eq!(Seconds(1_700_000_000 * 1_000_000).to_string(), "1700000000");
        assert_eq!(
            Date(1_700_000_000 * 1_000_000).to_string(),
            "2023-11-14 22:13:20 UTC"
        );
        assert_eq!(Date(-1).to_string(), "1969-12-31 23:59:59 UTC");
        assert_eq!(
            Date(951_782_400 * 1_000_000).to_string(),
            "2000-02-29 00:00:00 UTC"
        );
        assert_eq!(Date(YEAR_1).to_string(), "0001-01-01 00:00:00 UTC");
        assert_eq!(Date(YEAR_10000 - 1).to_string(), "9999-12-31 23:59:59 UTC");
        assert_eq!(
            Date(YEAR_10000).to_string(),
            "253402300800 seconds since 1970"
        );
        assert_eq!(
            Date(YEAR_1 - 1).to_string(),
            "-62135596800.000001 seconds since 1970"
        );
        assert_eq!(Date(i64::MIN).to_string(), "-infinity");
        assert_eq!(Date(i64::MAX).to_string(), "infinity");
        for (seconds, text) in [
            (0, "0 us"),
            (59, "59 s"),
            (60, "1 min"),
            (-61, "1 min 1 s"),
            (3_600, "1 h"),
            (7_260, "2 h 1 min"),
            (3 * 86_400, "3 d"),
            (3 * 86_400 + 7_200, "3 d 2 h"),
        ] {
            assert_eq!(Span(seconds * 1_000_000).to_string(), text);
        }
        assert_eq!(Span(i64::MIN).to_string(), "106751991 d 4 h");
    }
}
