//! Foreign strings in messages.

use crate::limits::MAX_EXCERPT_CHARS;

/// Returns `text` in double quotes and in ASCII, with everything else escaped, so that it cannot forge
/// a line of a log and every encoding of a database can hold it. Cut after [`MAX_EXCERPT_CHARS`].
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, false))
}

/// The same without the quotes, and with those in the text as they are.
#[must_use]
pub fn plain(text: &str) -> String {
    shown(text, true)
}

fn shown(text: &str, with_quotes: bool) -> String {
    let mut shown = String::new();
    let mut length = 0usize;
    for char in text.chars() {
        let as_it_is = char == '\'' || (with_quotes && char == '"');
        let escaped = char.escape_default();
        length = length.saturating_add(if as_it_is { 1 } else { escaped.len() });
        if length > MAX_EXCERPT_CHARS {
            shown.push_str("...");
            break;
        }
        match as_it_is {
            true => shown.push(char),
            false => shown.extend(escaped),
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
            quoted("it's a\"\n\0\u{202e}\u{1b}[31m"),
            r#""it's a\"\n\u{0}\u{202e}\u{1b}[31m""#
        );
        assert_eq!(quoted("Zoë"), r#""Zo\u{eb}""#);
        assert_eq!(plain("for \"a\"\n"), r#"for "a"\n"#);
    }

    #[test]
    fn is_bounded() {
        let length = |count| plain(&"x".repeat(count)).chars().count();
        assert_eq!(length(MAX_EXCERPT_CHARS), MAX_EXCERPT_CHARS);
        // And three dots.
        assert_eq!(length(MAX_EXCERPT_CHARS + 1), MAX_EXCERPT_CHARS + 3);
        let escaped = plain(&"\u{202e}".repeat(1_000_000));
        assert!(escaped.chars().count() <= MAX_EXCERPT_CHARS + 3);
    }
}
