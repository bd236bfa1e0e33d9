//! Foreign strings in messages.

use std::fmt;

use crate::limits::MAX_EXCERPT_CHARS;

/// A string from outside, as messages show it.
///
/// At most [`MAX_EXCERPT_CHARS`] characters, with control characters,
/// invisible ones and those that change the writing direction escaped, so that
/// a token cannot forge a log line or flood it. Displayed in double quotes.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// The excerpt of `text`.
    pub fn new(text: &str) -> Self {
        let mut shown = String::new();
        let mut length = 0usize;
        for char in text.chars() {
            // escape_debug would escape the apostrophe too, which does no harm.
            let is_plain = char == '\'';
            let escaped = char.escape_debug();
            length = length.saturating_add(if is_plain { 1 } else { escaped.len() });
            if length > MAX_EXCERPT_CHARS {
                shown.push('…');
                break;
            }
            match is_plain {
                true => shown.push(char),
                false => shown.extend(escaped),
            }
        }
        Self(shown.into())
    }

    /// The escaped and shortened text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_forge_a_line() {
        assert_eq!(
            Excerpt::new("it's \"a\"\n\0\u{202e}\u{1b}[31m").to_string(),
            r#""it's \"a\"\n\0\u{202e}\u{1b}[31m""#
        );
        assert_eq!(Excerpt::new("Zoë 日本").to_string(), "\"Zoë 日本\"");
    }

    #[test]
    fn is_bounded() {
        let all = |text: &str| Excerpt::new(text).as_str().chars().count();
        assert_eq!(all(&"x".repeat(100)), 100);
        assert_eq!(all(&"x".repeat(101)), 101); // the ellipsis
        assert!(all(&"\u{202e}".repeat(1_000_000)) <= 101);
    }
}
