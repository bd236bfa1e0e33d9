//! Finds texts that look like a token.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::visit;
use crate::pg::search;

/// Fewest characters of a token's first part: `{"alg":"x"}` in base64url.
const SHORTEST_HEADER: usize = 15;

/// First token in `text` from `from` on: two base64url texts that begin as JSON objects do, with a
/// dot in between, and all that follows them.
pub fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    let text_from = text.get(from..)?;
    // Most statements have no room for a token. BEGIN and COMMIT end here.
    if text_from.len() < SHORTEST_HEADER {
        return None;
    }
    let mut searched = 0;
    // From dot to dot: each run of base64url characters belongs to one dot, so the work is linear
    // whatever the text.
    search::places(b'.', text_from).find_map(|dot| {
        let end = dot.saturating_add(1);
        visit(end.saturating_sub(searched));
        searched = end;
        let (before, after) = text_from.split_at_checked(dot)?;
        let run = visit(count_base64url(before.iter().rev()));
        if run < SHORTEST_HEADER || !begins_object(after.get(1..)?) {
            return None;
        }
        let run = dot.saturating_sub(run);
        let start = run.saturating_add(find_header(before.get(run..)?)?);
        let length = visit(
            text_from
                .get(start..)?
                .iter()
                .take_while(|byte| is_base64url(**byte) || **byte == b'.')
                .count(),
        );
        let start = from.saturating_add(start);
        Some(start..start.saturating_add(length))
    })
}

/// Start of a token's header in a base64url text that ends with it. The text right before a token
/// may be base64url too: the end of `--`, of `%20` or of `Bearer_`.
fn find_header(run: &[u8]) -> Option<usize> {
    if begins_header(run) {
        return Some(0);
    }
    let last = run.len().checked_sub(SHORTEST_HEADER)?;
    (1..=last).find(|start| {
        visit(1);
        run.get(*start..).is_some_and(begins_header_exactly)
    })
}

/// Whether a base64url text begins a JSON object that has members. (Names such as `exchange_rates`
/// begin with the brace alone.)
fn begins_header(text: &[u8]) -> bool {
    begins_as(text, |_, rest| {
        matches!(rest.trim_ascii_start(), [] | [b'"', ..])
    })
}

/// As [`begins_header`], but stricter, because it is asked at each position of a long name too: the
/// characters after the brace are printable.
fn begins_header_exactly(text: &[u8]) -> bool {
    // `{`, tab or line feed, carriage return, space.
    matches!(text, [b'e' | b'C' | b'D' | b'I', ..])
        && begins_header(text)
        && begins_as(text, |decoded, _| {
            decoded
                .iter()
                .all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'))
        })
}

/// Whether a base64url text begins a JSON object. That is enough for a payload: a token with a
/// damaged payload still has a signature to hide.
fn begins_object(text: &[u8]) -> bool {
    begins_as(text, |_, _| true)
}

/// Whether a base64url text begins with a brace, after any white space, and goes on as `goes_on`
/// says. The closure gets all decoded bytes, and those after the brace.
fn begins_as(text: &[u8], goes_on: impl FnOnce(&[u8], &[u8]) -> bool) -> bool {
    /// Whole groups of four characters, and more white space than anybody writes there.
    const LOOKED_AT: usize = 16;
    let end = visit(count_base64url(text.iter().take(LOOKED_AT)));
    // A text that was cut may end within a group. (`{}` is less than one.)
    let end = if end < 4 { end } else { end & !3 };
    let mut buffer = [0; LOOKED_AT];
    let length = text
        .get(..end)
        .and_then(|text| URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok())
        .unwrap_or(0);
    let decoded = buffer.get(..length).unwrap_or_default();
    match decoded.trim_ascii_start() {
        [] => length > 0,
        [b'{', rest @ ..] => goes_on(decoded, rest),
        _ => false,
    }
}

/// Number of bytes, from the first on, that are base64url's.
fn count_base64url<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| is_base64url(**byte)).count()
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use crate::redaction::tests::redacted;

    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln";

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
        // A damaged payload.
        assert_eq!(redacted(&TOKEN.replace(".ey", ".eyey")), "<token>");
    }

    #[test]
    fn cuts_out_tokens_that_follow_base64url_characters() {
        for before in [
            "--",
            "-",
            "_",
            "%20",
            "Bearer%20",
            "=",
            "%22",
            "Bearer%3A%20%22",
            "x",
            "token_",
            "a-b-",
            "KeyIs",
            "eyes_",
            "ey",
            "e",
            "IHs",
            "https://x/?t=%2520",
        ] {
            for token in [
                TOKEN,
                "ewogImFsZyI6ICJIUzI1NiJ9.ewoJInN1YiI6IDF9.x",
                "IHsiYWxnIjoiSFMyNTYifQ.eyJzdWIiOiJhIn0.c2ln",
                "CnsiYWxnIjoiSFMyNTYifQ.eyJzdWIiOiJhIn0.c2ln",
            ] {
                let text = redacted(&format!("a {before}{token} b"));
                assert!(text.ends_with("<token> b") && text.len() < 40, "{text}");
            }
        }
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
            "SELECT theKeyIsVeryLongHere.eyes, moneyKeeperOfTheJury.exchange",
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
