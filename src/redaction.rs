//! Finds what looks like a token in a text, and cuts it out.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What stands in a token's place. Shorter than any token, so that it can be put there.
const REDACTED: &[u8] = b"<token>";

/// Fewest characters of a token's first part: `{"alg":"x"}` in base64url.
const SHORTEST_HEADER: usize = 15;

/// Whether there is a token in the text.
pub fn holds_token(text: &[u8]) -> bool {
    find_token(text, 0).is_some()
}

/// Replaces each token in a NUL-terminated text, which gets no longer by it.
pub fn redact(text: &mut [u8]) {
    let mut from = 0;
    while let Some(token) = find_token(text, from) {
        let end = token.start + REDACTED.len();
        text[token.start..end].copy_from_slice(REDACTED);
        text.copy_within(token.end.., end);
        from = end;
    }
}

/// The first token in `text` from there on: two base64url texts that begin as JSON objects do, with
/// a dot in between, and all that hangs on them.
fn find_token(text: &[u8], from: usize) -> Option<Range<usize>> {
    // Most statements have no room for one. BEGIN and COMMIT end here.
    if text.len() < from + SHORTEST_HEADER {
        return None;
    }
    // From dot to dot, so that the time is linear whatever the text.
    memchr::memchr_iter(b'.', text.get(from..)?).find_map(|dot| {
        let dot = from + dot;
        let header = text[from..dot]
            .iter()
            .rev()
            .take_while(|byte| is_base64url(**byte))
            .count();
        let start = dot - header;
        if header < SHORTEST_HEADER
            || !begins_object(&text[start..])
            || !begins_object(&text[dot + 1..])
        {
            return None;
        }
        let length = text[start..]
            .iter()
            .take_while(|byte| is_base64url(**byte) || **byte == b'.')
            .count();
        Some(start..start + length)
    })
}

/// Whether a base64url text begins a JSON object, after any white space.
fn begins_object(text: &[u8]) -> bool {
    /// Whole groups of four characters, and more white space than anybody writes there.
    const LOOKED_AT: usize = 16;
    let end = text
        .iter()
        .take(LOOKED_AT)
        .take_while(|byte| is_base64url(**byte))
        .count();
    // What was cut short may end within a group. (`{}` is less than one.)
    let end = if end < 4 { end } else { end / 4 * 4 };
    let mut decoded = [0; LOOKED_AT];
    let length = URL_SAFE_NO_PAD
        .decode_slice(&text[..end], &mut decoded)
        .unwrap_or(0);
    let begin = decoded[..length].trim_ascii_start();
    begin.starts_with(b"{") || (length > 0 && begin.is_empty())
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln";

    fn redacted(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        redact(&mut bytes);
        let end = bytes.iter().position(|byte| *byte == 0).expect("a NUL");
        String::from_utf8(bytes[..end].to_vec()).expect("UTF-8")
    }

    #[test]
    fn cuts_out_tokens_wherever_they_stand() {
        assert_eq!(redacted(TOKEN), "<token>");
        assert_eq!(
            redacted(&format!("SELECT auth.jwt_session_init('{TOKEN}');")),
            "SELECT auth.jwt_session_init('<token>');"
        );
        assert_eq!(
            redacted(&format!("SET x = {TOKEN}; SET y={TOKEN}")),
            "SET x = <token>; SET y=<token>"
        );
        assert_eq!(redacted(&format!("é'{TOKEN}'é")), "é'<token>'é");
        // White space in the JSON, and a text that was cut short.
        assert_eq!(
            redacted("ewogImFsZyI6ICJIUzI1NiJ9.ewoJInN1YiI6IDF9.x"),
            "<token>"
        );
        assert_eq!(redacted(&format!("'{}...'", &TOKEN[..30])), "'<token>'");
        assert_eq!(redacted("eyJhbGciOiJFZERTQSJ9.e30.c2ln"), "<token>");
    }

    #[test]
    fn leaves_everything_else_alone() {
        for text in [
            "",
            ".",
            ".ey",
            "ey.ey",
            "SELECT eyes.eye FROM eyes",
            "SELECT * FROM a_schema_of_some_length.eyes",
            "eyJhbGciOiJFZERTQSJ9",
            "eyJhbGciOiJFZERTQSJ9.",
            "eyJhbGciOiJFZERTQSJ9.abc.def",
            "a_database_of_some_length.a_schema_of_some_length.a_table_of_some_length",
            "https://example.com/eyJhbGciOi.eyJ",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
