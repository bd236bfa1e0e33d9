//! The dates of tokens (RFC 7519 §2, NumericDate).

use std::fmt;

use crate::time::{UnixTime, WideTime};

/// Seconds since 1970-01-01 00:00:00 UTC, as a token states them: any JSON number.
///
/// Displayed as a date if it lies in the years 1 to 9999, else as the number, in at most 25
/// characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumericDate(Number);

/// JSON has no NaN.
impl Eq for NumericDate {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Integer(i128),
    Fraction(f64),
}

impl NumericDate {
    pub(crate) fn from_integer(seconds: impl Into<i128>) -> Self {
        Self(Number::Integer(seconds.into()))
    }

    pub(crate) fn from_fraction(seconds: f64) -> Self {
        Self(Number::Fraction(seconds))
    }

    /// The instant, in a type wide enough to compare every JSON number.
    pub(crate) fn wide(self) -> WideTime {
        match self.0 {
            Number::Integer(seconds) => WideTime::from_seconds(seconds),
            Number::Fraction(seconds) => WideTime::from_fractional_seconds(seconds),
        }
    }

    /// Whether it lies after the year 9999.
    pub(crate) fn is_after_year_9999(self) -> bool {
        self.wide() >= UnixTime::YEAR_10000.into()
    }

    /// The instant, if it is in the years 1 to 9999. Others are not written as dates.
    pub(crate) fn calendar(self) -> Option<UnixTime> {
        let time = self.wide().narrow();
        time.is_calendar().then_some(time)
    }
}

impl fmt::Display for NumericDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.calendar(), self.0) {
            (Some(time), _) => write!(f, "{time}"),
            (None, Number::Integer(seconds)) => write!(f, "{seconds} seconds since 1970"),
            // Debug keeps large numbers short: 1e300.
            (None, Number::Fraction(seconds)) => write!(f, "{seconds:?} seconds since 1970"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_only_where_it_is_right() {
        for (seconds, shown) in [
            (-62_135_596_801, "-62135596801 seconds since 1970"),
            (-62_135_596_800, "0001-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800, "253402300800 seconds since 1970"),
            (i64::MIN, "-9223372036854775808 seconds since 1970"),
        ] {
            assert_eq!(NumericDate::from_integer(seconds).to_string(), shown);
        }
        let largest = NumericDate::from_integer(u64::MAX);
        assert_eq!(
            largest.to_string(),
            "18446744073709551615 seconds since 1970"
        );
        for (seconds, shown) in [
            (0.5, "1970-01-01 00:00:00 UTC"),
            (-0.5, "1969-12-31 23:59:59 UTC"),
            (253_402_300_799.5, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800.5, "253402300800.5 seconds since 1970"),
            (1e300, "1e300 seconds since 1970"),
            (
                -1.797_693_134_862_315_7e308,
                "-1.7976931348623157e308 seconds since 1970",
            ),
        ] {
            assert_eq!(NumericDate::from_fraction(seconds).to_string(), shown);
        }
    }
}
