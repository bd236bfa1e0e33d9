//! Finds bytes in a text.
//!
//! On x86-64 the `memchr` crate's own functions look for wider instructions when they are first
//! called, by `cpuid`, which a virtual machine's host answers: 30 µs in a new connection's first
//! statement. These take the instructions that every such processor has, 16 bytes at a time.
//! Elsewhere the crate decides when it is compiled.

#[cfg(target_arch = "x86_64")]
use memchr::arch::x86_64::sse2::memchr::{One, Two};

/// First place of the byte.
#[inline]
pub fn find(byte: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(one) = One::new(byte) {
        return one.find(text);
    }
    memchr::memchr(byte, text)
}

/// First place of one of the two bytes.
#[inline]
pub fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(two) = Two::new(one, other) {
        return two.find(text);
    }
    memchr::memchr2(one, other, text)
}

/// All places of the byte.
pub fn places(byte: u8, text: &[u8]) -> impl Iterator<Item = usize> {
    repeated(text, move |rest| find(byte, rest))
}

/// All places of one of the two bytes.
pub fn places_of_either(one: u8, other: u8, text: &[u8]) -> impl Iterator<Item = usize> {
    repeated(text, move |rest| find_either(one, other, rest))
}

fn repeated(text: &[u8], find: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = usize> {
    let mut from = 0_usize;
    std::iter::from_fn(move || {
        let at = from.saturating_add(find(text.get(from..)?)?);
        from = at.saturating_add(1);
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_plain_search_finds() {
        // Texts of all lengths around those that one instruction reads, with the byte at each
        // place.
        for length in 0..70 {
            for first in 0..=length {
                for second in first..=length {
                    let mut text = vec![b'x'; length];
                    for (at, byte) in [(first, b'.'), (second, b':')] {
                        if let Some(place) = text.get_mut(at) {
                            *place = byte;
                        }
                    }
                    let plain = |wanted: &[u8]| -> Vec<usize> {
                        let is_wanted = |at: &usize| wanted.contains(&text[*at]);
                        (0..length).filter(is_wanted).collect()
                    };
                    assert_eq!(places(b'.', &text).collect::<Vec<_>>(), plain(b"."));
                    assert_eq!(find(b':', &text), plain(b":").first().copied());
                    let either: Vec<_> = places_of_either(b'.', b':', &text).collect();
                    assert_eq!(either, plain(b".:"));
                    assert_eq!(find_either(b':', b'.', &text), either.first().copied());
                }
            }
        }
    }
}
