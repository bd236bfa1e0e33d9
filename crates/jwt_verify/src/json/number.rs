//! Numbers that a database can store.

use crate::limits::{MAX_NUMBER_EXPONENT, MAX_NUMBER_FRACTION_DIGITS, MAX_NUMBER_INTEGER_DIGITS};

/// Whether every number of a valid JSON text is within the limits on digits
/// and exponents.
pub(super) fn all_fit(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'"' => skip_string(tail),
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let end = rest.iter().position(|b| !is_part(b)).unwrap_or(rest.len());
                let Some((number, after)) = rest.split_at_checked(end) else {
                    return false;
                };
                if !fits(number) {
                    return false;
                }
                after
            }
            _ => tail,
        };
    }
    true
}

/// The text after the string whose opening quote was just read.
fn skip_string(mut rest: &[u8]) -> &[u8] {
    loop {
        match rest {
            [b'"', after @ ..] => return after,
            [b'\\', _, after @ ..] | [_, after @ ..] => rest = after,
            [] => return rest,
        }
    }
}

fn fits(number: &[u8]) -> bool {
    let mut parts = number.splitn(2, |b| matches!(b, b'e' | b'E'));
    let mantissa = parts.next().unwrap_or_default();
    let exponent = match parts.next().map(str::from_utf8) {
        None => 0,
        Some(digits) => match digits.map(str::parse::<i32>) {
            Ok(Ok(exponent)) => exponent,
            _ => return false,
        },
    };
    if exponent.unsigned_abs() > MAX_NUMBER_EXPONENT.unsigned_abs() {
        return false;
    }
    let mut parts = mantissa.splitn(2, |&b| b == b'.');
    let integer = parts.next().map_or(0, <[u8]>::len);
    let fraction = parts.next().map_or(0, <[u8]>::len);
    let shift = exponent.unsigned_abs() as usize;
    let (left, right) = if exponent < 0 { (0, shift) } else { (shift, 0) };
    // The sign counts as a digit, and a positive exponent does not shorten the fraction. Both are
    // small errors compared with the distance between the limits and real numbers.
    integer.saturating_add(left) <= MAX_NUMBER_INTEGER_DIGITS
        && fraction.saturating_add(right) <= MAX_NUMBER_FRACTION_DIGITS
}
