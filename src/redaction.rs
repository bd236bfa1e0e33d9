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

/// Replaces each token in a NUL-terminated text, which gets no longer by it. Moves each byte once,
/// however many tokens there are.
pub fn redact(text: &mut [u8]) {
    let (mut read, mut written) = (0, 0);
    while let Some(token) = find_token(text, read) {
        text.copy_within(read..token.start, written);
        written += token.start - read;
        text[written..written + REDACTED.len()].copy_from_slice(REDACTED);
        written += REDACTED.len();
        read = token.end;
    }
    text.copy_within(read.., written);
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
            || !begins_header(&text[start..])
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

/// Whether a base64url text begins a JSON object that has members. (The brace alone is what names such
/// as `exchange_rates` begin with.)
fn begins_header(text: &[u8]) -> bool {
    begins_as(text, |rest| {
        matches!(rest.trim_ascii_start(), [] | [b'"', ..])
    })
}

/// Whether a base64url text begins a JSON object. Of a payload no more is asked, because of one that
/// was spoiled the signature is as secret as before.
fn begins_object(text: &[u8]) -> bool {
    begins_as(text, |_| true)
}

/// Whether a base64url text begins with a brace, after any white space, and goes on like this.
fn begins_as(text: &[u8], goes_on: impl FnOnce(&[u8]) -> bool) -> bool {
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
    match decoded[..length].trim_ascii_start() {
        [] => length > 0,
        [b'{', rest @ ..] => goes_on(rest),
        _ => false,
    }
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
        // A payload that was spoiled.
        assert_eq!(redacted(&TOKEN.replace(".ey", ".eyey")), "<token>");
    }

    #[test]
    fn cuts_out_any_number_of_tokens_in_linear_time() {
        let count = 100_000;
        let text = format!("a {TOKEN}, b {TOKEN}.") + &format!("'{TOKEN}',").repeat(count);
        let started = std::time::Instant::now();
        let expected = "a <token>, b <token>".to_owned() + &"'<token>',".repeat(count);
        assert_eq!(redacted(&text), expected);
        // A debug build takes a tenth of a second; shifting the rest for each token took minutes.
        assert!(started.elapsed().as_secs() < 10);
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
            "SELECT exchange_rate_history.exchange_id FROM exchange_rate_history",
            "SELECT eyewitness_reports.eyewitness, extended_properties.external_id",
            "e1234567890abcdefg.eyJhbGciOi",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
