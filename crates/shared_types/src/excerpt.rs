//! Foreign strings in messages.

use std::fmt;

/// Longest excerpt of a foreign string in a message, in characters: room for the URL of a discovery
/// document, and for the issuer that it is about.
pub const MAX_EXCERPT_CHARS: usize = 200;

/// Marks the place where a text was cut. ASCII, so that every encoding of a database has it.
const ELLIPSIS: &str = "...";

/// A string from outside, as messages show it.
///
/// At most [`MAX_EXCERPT_CHARS`] characters and the dots, with control characters,
/// invisible ones and those that change the writing direction escaped, so that
/// a token or an endpoint cannot forge a log line or flood it. Displayed in double quotes.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// The excerpt of `text`.
    pub fn new(text: &str) -> Self {
        Self(escaped(text, |char| char == '\'').into())
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

/// As [`Excerpt`], for a text that is not put into quotes, such as the reason that a library gives: quotes
/// in it stay as they are.
#[must_use]
pub fn plain(text: &str) -> String {
    escaped(text, |char| matches!(char, '\'' | '"'))
}

/// A message, which has its excerpts already, with `most` characters and the dots at most.
#[must_use]
pub fn cut(message: &str, most: usize) -> String {
    match message.char_indices().nth(most) {
        None => message.to_owned(),
        Some(_) => message.chars().take(most).chain(ELLIPSIS.chars()).collect(),
    }
}

/// `text` with its characters escaped, except for those that are to stay as they are.
fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    let mut length = 0usize;
    for char in text.chars() {
        let stays = stays(char);
        let escape = char.escape_debug();
        length = length.saturating_add(if stays { 1 } else { escape.len() });
        if length > MAX_EXCERPT_CHARS {
            shown.push_str(ELLIPSIS);
            break;
        }
        match stays {
            true => shown.push(char),
            false => shown.extend(escape),
        }
    }
    shown
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
        assert_eq!(plain("for \"a\"'s\n"), r#"for "a"'s\n"#);
    }

    #[test]
    fn is_bounded() {
        let length = |text: &str| {
            let (excerpt, plain) = (Excerpt::new(text), plain(text));
            assert_eq!(excerpt.as_str(), plain);
            plain.chars().count()
        };
        assert_eq!(length(&"x".repeat(MAX_EXCERPT_CHARS)), MAX_EXCERPT_CHARS);
        let one_more = "x".repeat(MAX_EXCERPT_CHARS + 1);
        assert_eq!(length(&one_more), MAX_EXCERPT_CHARS + ELLIPSIS.len());
        assert!(plain(&one_more).ends_with("x..."));
        assert!(length(&"\u{202e}".repeat(1_000_000)) <= MAX_EXCERPT_CHARS + ELLIPSIS.len());
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut("日本語", 3), "日本語");
        assert_eq!(cut("日本語", 2), "日本...");
        assert_eq!(cut("", 0), "");
    }
}
