//! Instants that a token names, which can be of any size, and lengths of time in messages.

use std::fmt;
use std::time::Duration;

pub(crate) use shared_types::{Seconds, UnixTime};

const MICROS_PER_SECOND: i64 = 1_000_000;

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

    /// The nearest instant that fits 64 bits.
    pub(crate) fn narrow(self) -> UnixTime {
        UnixTime::nearest(self.0)
    }
}

impl From<UnixTime> for WideTime {
    fn from(time: UnixTime) -> Self {
        Self(time.as_micros().into())
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
        assert_eq!(WideTime(-1).narrow(), UnixTime::from_micros(-1));
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
