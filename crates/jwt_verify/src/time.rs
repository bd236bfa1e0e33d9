//! Points in time as integers, and how messages write them.

use std::fmt;

/// Microseconds since 1970-01-01 00:00:00 UTC, or a span of microseconds.
///
/// The crate has no clock: every time is an argument.
pub type UnixMicros = i64;

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;

/// Whole seconds as microseconds; what does not fit becomes the nearest end of
/// the range, so that a far date stays far and never wraps into the past.
pub(crate) fn from_seconds(seconds: i128) -> UnixMicros {
    let micros = seconds.saturating_mul(i128::from(MICROS_PER_SECOND));
    micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Fractional seconds as microseconds, rounded up and saturated.
///
/// Near today's dates a double holds a quarter of a microsecond, so what was
/// written with up to six decimals comes out exactly.
pub(crate) fn from_fractional_seconds(seconds: f64) -> UnixMicros {
    // `as` saturates, and a JSON number is never NaN.
    (seconds * MICROS_PER_SECOND as f64).ceil() as i64
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

/// Displays a time as a date in UTC, for people.
pub(crate) struct Date(pub(crate) UnixMicros);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        match (days, hours, minutes, seconds) {
            (0, 0, 0, 0) => write!(f, "{micros} us"),
            (0, 0, 0, _) => write!(f, "{seconds} s"),
            (0, 0, _, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// Days since 1970-01-01 to year, month and day of the Gregorian calendar
/// (Howard Hinnant's `civil_from_days`). Years beyond 9999 are just long.
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
    fn saturates_and_never_wraps() {
        assert_eq!(from_seconds(i128::from(u64::MAX)), i64::MAX);
        assert_eq!(from_seconds(i128::from(i64::MIN)), i64::MIN);
        assert_eq!(from_fractional_seconds(1e308), i64::MAX);
        assert_eq!(from_fractional_seconds(-1e308), i64::MIN);
    }

    #[test]
    fn fractions_are_exact_to_the_microsecond() {
        assert_eq!(
            from_fractional_seconds(1_767_225_600.1),
            1_767_225_600_100_000
        );
        assert_eq!(
            from_fractional_seconds(1_767_225_600.999_999),
            1_767_225_600_999_999
        );
        assert_eq!(from_fractional_seconds(-0.5), -500_000);
        assert_eq!(from_fractional_seconds(5e-324), 1);
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
        assert_eq!(Date(i64::MAX).to_string(), "294247-01-10 04:00:54 UTC");
        assert_eq!(Span(3 * 86_400 * 1_000_000).to_string(), "3 d 0 h");
        assert_eq!(Span(-61 * 1_000_000).to_string(), "1 min 1 s");
        assert_eq!(Span(i64::MIN).to_string(), "106751991 d 4 h");
    }
}
