//! Foreign strings in messages.

use crate::limits::MAX_EXCERPT_CHARS;

/// Returns `text` in double quotes, with everything escaped that could forge a line of a log or
/// change the writing direction, and cut after [`MAX_EXCERPT_CHARS`].
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// The same, without the quotes.
pub fn plain(text: &str) -> String {
    let mut shown = String::new();
    let mut length = 0usize;
    for char in text.chars() {
        let escaped = char.escape_debug();
        length = length.saturating_add(escaped.len());
        if length > MAX_EXCERPT_CHARS {
            shown.push('…');
            break;
        }
        shown.extend(escaped);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_forge_a_line() {
        assert_eq!(
            quoted("a\"\n\0\u{202e}\u{1b}[31m"),
            r#""a\"\n\0\u{202e}\u{1b}[31m""#
        );
    }

    #[test]
    fn is_bounded() {
        assert_eq!(plain(&"x".repeat(100)).chars().count(), 100);
        assert_eq!(plain(&"x".repeat(101)).chars().count(), 101); // the ellipsis
        assert!(plain(&"\u{202e}".repeat(1_000_000)).chars().count() <= 101);
    }
}
