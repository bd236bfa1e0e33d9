//! Finds the secret members of JWKs: the private halves of asymmetric keys, and symmetric ones.
//!
//! A member counts as a JWK's if a member `kty` is near it; other members that an application names
//! `d` or `k` stay. In a text that Postgres quotes and cuts, `kty` may be cut off (jsonb writes `d`
//! and `k` first). There a member counts if its value could be a key and the object's other end is
//! cut off.
//!
//! Quotes are read in the forms of SQL and of messages: plain, after backslashes (a JSON text
//! within another one, `E''`, COPY), doubled (CSV).

use std::ops::Range;

use super::{Extent, visit};
use crate::pg::search;

/// The members that are "private" or "secret" in the registry of RFC 7518 §6: of EC, OKP, RSA, AKP
/// and oct; and one of AKP in the drafts of RFC 9964.
const SECRET: [&[u8]; 10] = [
    b"d", b"k", b"p", b"q", b"dp", b"dq", b"qi", b"oth", b"priv", b"seed",
];

/// Characters of the longest name among [`SECRET`].
const LONGEST_NAME: usize = 4;

/// Maximum distance of a member from its `kty`, in bytes: longer than any JWK in use, even one with
/// a chain of certificates.
const LONGEST_JWK: usize = 64 * 1024;

/// Fewest characters of a value that counts as a key if `kty` is cut off.
const SHORTEST_KEY: usize = 16;

/// Bytes of a text that begins in the middle of an object in which that beginning is looked for:
/// more than Postgres shows before an error in a JSON text (50 bytes, `report_json_context`).
const SHOWN_BEFORE: usize = 128;

/// Mark that Postgres writes in place of a part that it cut.
const CUT: &[u8] = b"...";

/// More backslashes and quotes than any nesting of quotes in quotes needs.
const MOST_QUOTES: usize = 64;

/// A search through one text; call it with rising positions.
pub struct Search {
    extent: Extent,
    kty_before: Option<usize>,
    kty_after: Ahead,
    /// The end of an object, or the place where it is cut.
    end: Ahead,
    bracket: Ahead,
    /// End of an object whose start was cut off.
    beginless_until: usize,
}

/// Next occurrence of something after a position, as far as known. It is searched for again only
/// after the last one found, so that all searches together are linear.
#[derive(Clone, Copy)]
enum Ahead {
    Unknown,
    At(usize),
    Nowhere,
}

impl Ahead {
    fn from(&mut self, at: usize, search: impl FnOnce(usize) -> Option<usize>) -> Option<usize> {
        let is_behind = match *self {
            Self::Unknown => true,
            Self::At(found) => found < at,
            Self::Nowhere => false,
        };
        if is_behind {
            *self = search(at).map_or(Self::Nowhere, Self::At);
        }
        match *self {
            Self::At(found) => Some(found),
            Self::Unknown | Self::Nowhere => None,
        }
    }
}

impl Search {
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            kty_before: None,
            kty_after: Ahead::Unknown,
            end: Ahead::Unknown,
            bracket: Ahead::Unknown,
            beginless_until: 0,
        }
    }

    /// First secret value in `text` from `from` on. The text before is not looked at.
    pub fn find(&mut self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            let found = search::find_either(b':', b'.', rest);
            visit(found.map_or(rest.len(), |found| found.saturating_add(1)));
            let here = at.saturating_add(found?);
            let value = match text.get(here) {
                Some(b':') => self.member(text, from, here),
                _ if self.extent == Extent::MayBeCut => nameless_value(text, from, here),
                _ => None,
            };
            if let Some(value) = value
                && !value.is_empty()
            {
                return Some(value);
            }
            at = here.saturating_add(1);
        }
    }

    /// The secret value of the member with that colon.
    fn member(&mut self, text: &[u8], from: usize, colon: usize) -> Option<Range<usize>> {
        let name = Name::before(text.get(from..colon)?)?;
        if !SECRET.contains(&name.text) {
            return None;
        }
        let at = skip_space(text, colon.saturating_add(1));
        if name.text == b"oth" && text.get(at) == Some(&b'[') {
            let start = at.saturating_add(1);
            let bracket = self.bracket.from(start, |at| find_byte(text, at, b']'));
            return (self.is_near_kty(text, from, colon))
                .then(|| start..bracket.unwrap_or(text.len()));
        }
        let value = StringValue::at(text, at, name.quotes)?;
        let is_secret = self.is_near_kty(text, from, colon)
            || (self.extent == Extent::MayBeCut
                && value.could_be_key(text)
                && self.is_cut(text, from, colon, value.range.end));
        is_secret.then_some(value.range)
    }

    /// Whether there is a member `kty` close enough to be of the same JWK.
    fn is_near_kty(&mut self, text: &[u8], from: usize, at: usize) -> bool {
        loop {
            let search_from = match self.kty_after {
                // The first member that is looked at: search from the text's beginning.
                Ahead::Unknown => 0,
                Ahead::At(kty) if kty < at => {
                    self.kty_before = Some(kty);
                    kty.saturating_add(1).max(from)
                }
                Ahead::At(_) | Ahead::Nowhere => break,
            };
            self.kty_after = find_kty(text, search_from).map_or(Ahead::Nowhere, Ahead::At);
        }
        let after = match self.kty_after {
            Ahead::At(kty) => Some(kty),
            Ahead::Unknown | Ahead::Nowhere => None,
        };
        [self.kty_before, after]
            .into_iter()
            .flatten()
            .any(|kty| kty.abs_diff(at) <= LONGEST_JWK)
    }

    /// Whether the object that has a member at `start..end` is cut off at either end.
    fn is_cut(&mut self, text: &[u8], from: usize, start: usize, end: usize) -> bool {
        let object_end = self.end.from(end, |at| find_end(text, at));
        if object_end.is_none_or(|at| text.get(at) != Some(&b'}')) {
            return true;
        }
        if start < self.beginless_until {
            return true;
        }
        let shown_from = start.saturating_sub(SHOWN_BEFORE).max(from);
        let before = text.get(shown_from..start).unwrap_or_default();
        visit(before.len());
        let is_beginless = before
            .windows(CUT.len())
            .rev()
            .take_while(|window| !window.ends_with(b"{"))
            .any(|window| window == CUT);
        if is_beginless {
            self.beginless_until = object_end.unwrap_or(end);
        }
        is_beginless
    }
}

/// A member's name.
struct Name<'a> {
    text: &'a [u8],
    /// Number of quotes that stand for one: two in CSV.
    quotes: usize,
}

impl<'a> Name<'a> {
    /// The quoted name that ends the text, if it is no longer than those of [`SECRET`].
    fn before(text: &'a [u8]) -> Option<Self> {
        let text = trim_space_end(text);
        let quotes = count_end(text, MOST_QUOTES, |byte| byte == b'"');
        let text = drop_end(text, quotes)?;
        let text = drop_end(text, count_end(text, MOST_QUOTES, |byte| byte == b'\\'))?;
        let longer = LONGEST_NAME.saturating_add(1);
        let length = count_end(text, longer, |byte| byte.is_ascii_lowercase());
        let name = drop_end(text, length)?;
        // The text before the name may be cut off.
        let is_quoted = name.ends_with(b"\"") || name.ends_with(CUT);
        (quotes > 0 && is_quoted).then_some(())?;
        Some(Self {
            text: text.get(name.len()..)?,
            quotes,
        })
    }
}

/// A member's value that is a string.
struct StringValue {
    range: Range<usize>,
    /// Whether its end is cut off.
    is_cut: bool,
}

impl StringValue {
    /// The string that begins there, with that many quotes for one.
    fn at(text: &[u8], at: usize, quotes: usize) -> Option<Self> {
        let rest = text.get(at..)?;
        let backslashes = count_start(rest, MOST_QUOTES, |byte| byte == b'\\');
        let rest = rest.get(backslashes..)?;
        // More quotes than one string's are an empty string.
        if count_start(rest, MOST_QUOTES, |byte| byte == b'"') != quotes {
            return None;
        }
        let start = at.saturating_add(backslashes).saturating_add(quotes);
        let mut end = start;
        let is_cut = loop {
            match search::find_either(b'"', b'.', text.get(end..)?) {
                None => {
                    end = text.len();
                    break true;
                }
                Some(found) => {
                    end = end.saturating_add(found);
                    let rest = text.get(end..)?;
                    if rest.starts_with(CUT) {
                        break true;
                    }
                    if rest.starts_with(b"\"") {
                        break false;
                    }
                    end = end.saturating_add(1);
                }
            }
        };
        let value = text.get(start..end)?;
        visit(value.len());
        // Backslashes before the closing quote belong to the quote.
        let backslashes = if is_cut {
            0
        } else {
            count_end(value, MOST_QUOTES, |byte| byte == b'\\')
        };
        Some(Self {
            range: start..end.saturating_sub(backslashes),
            is_cut,
        })
    }

    /// Whether it may be a key, by its characters and its length.
    fn could_be_key(&self, text: &[u8]) -> bool {
        let value = text.get(self.range.clone()).unwrap_or_default();
        visit(value.len());
        (self.is_cut || value.len() >= SHORTEST_KEY) && value.iter().all(|byte| is_base64(*byte))
    }
}

/// A key's value without its name, in a text whose beginning is cut off: right after the dots, or
/// after the rest of the member's name.
fn nameless_value(text: &[u8], from: usize, dot: usize) -> Option<Range<usize>> {
    /// More than the quotes and the white space around a colon take.
    const LONGEST_REST: usize = 32;
    let rest = text.get(dot..)?;
    let is_first = dot == from || text.get(dot.checked_sub(1)?) != Some(&b'.');
    let rest = rest.strip_prefix(CUT).filter(|_| is_first)?;
    let letters = count_start(rest, LONGEST_NAME.saturating_sub(1), |byte| {
        byte.is_ascii_lowercase()
    });
    let name = match rest.get(letters) {
        Some(b'"' | b'\\') => letters,
        _ => 0,
    };
    let rest = rest.get(name..)?;
    let skipped = count_start(rest, LONGEST_REST, |byte| {
        byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\\' | b':')
    });
    let value = rest.get(skipped..)?;
    let length = visit(count_start(value, usize::MAX, is_base64));
    let after = value.get(length..)?;
    let backslashes = count_start(after, MOST_QUOTES, |byte| byte == b'\\');
    let is_string = after.get(backslashes..)?.starts_with(b"\"");
    let start = text.len().saturating_sub(value.len());
    (is_string && length >= SHORTEST_KEY).then(|| start..start.saturating_add(length))
}

/// The first name `kty` from there on.
fn find_kty(text: &[u8], from: usize) -> Option<usize> {
    const KTY: &[u8] = b"kty";
    let rest = text.get(from..)?;
    let mut searched = 0;
    let found = search::places(b'k', rest)
        .filter(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(KTY)))
        .map(|at| from.saturating_add(at))
        .find(|at| {
            let end = at.saturating_sub(from).saturating_add(KTY.len());
            visit(end.saturating_sub(searched));
            searched = end;
            let before = text.get(..*at).unwrap_or_default();
            let after = text.get(at.saturating_add(KTY.len())..).unwrap_or_default();
            let backslashes = count_start(after, MOST_QUOTES, |byte| byte == b'\\');
            (before.ends_with(b"\"") || before.ends_with(CUT))
                && after.get(backslashes) == Some(&b'"')
        });
    if found.is_none() {
        visit(rest.len().saturating_sub(searched));
    }
    found
}

/// End of an object from there on: its brace, or the place where it is cut.
fn find_end(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let found = search::places_of_either(b'}', b'.', rest).find(|at| {
        let here = rest.get(*at..).unwrap_or_default();
        here.starts_with(b"}") || here.starts_with(CUT)
    });
    visit(found.unwrap_or(rest.len()));
    found.map(|at| from.saturating_add(at))
}

fn find_byte(text: &[u8], from: usize, byte: u8) -> Option<usize> {
    let rest = text.get(from..)?;
    let found = search::find(byte, rest);
    visit(found.unwrap_or(rest.len()));
    found.map(|at| from.saturating_add(at))
}

/// Skips white space, also in the form `\n`.
fn skip_space(text: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        at = match text.get(at..).unwrap_or_default() {
            [byte, ..] if byte.is_ascii_whitespace() => at.saturating_add(1),
            rest @ [b'\\', ..] => {
                let backslashes = count_start(rest, MOST_QUOTES, |byte| byte == b'\\');
                match rest.get(backslashes) {
                    Some(b'n' | b'r' | b't') => at.saturating_add(backslashes).saturating_add(1),
                    _ => return at,
                }
            }
            _ => return at,
        };
        visit(1);
    }
}

/// As [`skip_space`], from the end of the text.
fn trim_space_end(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [rest @ .., byte] if byte.is_ascii_whitespace() => rest,
            [rest @ .., b'\\', b'n' | b'r' | b't'] => {
                let backslashes = count_end(rest, MOST_QUOTES, |byte| byte == b'\\');
                drop_end(rest, backslashes).unwrap_or_default()
            }
            _ => return text,
        };
        visit(1);
    }
}

fn drop_end(text: &[u8], count: usize) -> Option<&[u8]> {
    text.get(..text.len().checked_sub(count)?)
}

fn count_start(text: &[u8], most: usize, counts: impl Fn(u8) -> bool) -> usize {
    text.iter()
        .take(most)
        .take_while(|byte| counts(**byte))
        .count()
}

fn count_end(text: &[u8], most: usize, counts: impl Fn(u8) -> bool) -> usize {
    text.iter()
        .rev()
        .take(most)
        .take_while(|byte| counts(**byte))
        .count()
}

/// Base64url, and base64 as it is written by mistake.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use crate::redaction::tests::redacted;
    use crate::redaction::{Extent, holds_secret};

    const KEY: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U";

    /// `KEY` is all that is hidden.
    fn hides_key(text: &str) {
        assert!(text.contains(KEY), "{text}");
        assert_eq!(redacted(text), text.replace(KEY, "<secret>"));
    }

    fn hides_key_of_statement(text: &str) {
        assert!(holds_secret(text.as_bytes(), Extent::Whole), "{text}");
        hides_key(text);
    }

    fn leaves_alone(text: &str) {
        assert!(!holds_secret(text.as_bytes(), Extent::Whole), "{text}");
        assert_eq!(redacted(text), text);
    }

    #[test]
    fn hides_each_secret_member_wherever_it_stands() {
        for name in ["d", "k", "p", "q", "dp", "dq", "qi", "priv", "seed"] {
            hides_key_of_statement(&format!(
                "{{\"kty\":\"X\",\"{name}\":\"{KEY}\",\"x\":\"y\"}}"
            ));
            hides_key_of_statement(&format!("'{{\"{name}\": \"{KEY}\", \"kty\": \"X\"}}'"));
            hides_key_of_statement(&format!(
                "{{\n\t\"{name}\" :\n \"{KEY}\"\n,\n \"kty\" : \"X\"}}"
            ));
        }
        hides_key_of_statement(&format!(
            "SELECT auth.init('{{\"keys\":[{{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"abc\",\"d\":\"{KEY}\",\
             \"p\":\"{KEY}\"}},{{\"k\":\"{KEY}\",\"kty\":\"oct\"}}]}}')"
        ));
        assert_eq!(
            redacted(
                "{\"kty\":\"RSA\",\"oth\":[{\"r\":\"a1\",\"d\":\"b2\",\"t\":\"c3\"}],\"n\":\"x\"}"
            ),
            "{\"kty\":\"RSA\",\"oth\":[<secret>],\"n\":\"x\"}"
        );
        assert_eq!(
            redacted("{\"kty\":\"oct\",\"k\":\"abc\"}"),
            "{\"kty\":\"oct\",\"k\":\"***\"}"
        );
        // Base64 of the wrong alphabet, as PHP writes it.
        assert_eq!(
            redacted("{\"kty\":\"oct\",\"k\":\"ab\\/c+defghijk==\"}"),
            "{\"kty\":\"oct\",\"k\":\"<secret>\"}"
        );
    }

    #[test]
    fn reads_the_quotes_of_sql_json_and_csv() {
        for (quote, space) in [
            ("\"", " "),
            ("\\\"", "\\n"),
            ("\\\\\"", "\\\\n"),
            ("\\\\\\\"", "\\t"),
            ("\"\"", ""),
            ("\"\"\"\"", ""),
            ("\\\"\"", ""),
        ] {
            for name in ["k", "d"] {
                hides_key_of_statement(
                    &format!("{{'kty':{space}'oct',{space}'{name}'{space}:{space}'{KEY}'}}")
                        .replace('\'', quote),
                );
                hides_key_of_statement(
                    &format!("{{'{name}':{space}'{KEY}',{space}'kty':{space}'oct'}}")
                        .replace('\'', quote),
                );
            }
        }
        hides_key_of_statement(&format!(
            "E'{{\\\"kty\\\":\\\"oct\\\",\\\"k\\\":\\\"{KEY}\\\"}}'"
        ));
        hides_key_of_statement(&format!(
            "EXECUTE 'SELECT f(''{{\"kty\":\"oct\",\"k\":\"{KEY}\"}}'')'"
        ));
        hides_key_of_statement(&format!("SELECT $a${{\"kty\":\"oct\",\"k\":\"{KEY}\"}}$a$"));
    }

    #[test]
    fn hides_keys_of_texts_that_are_cut() {
        // A line of COPY, a row, a JSON text: the end is cut off, with the key type.
        hides_key(&format!(
            "COPY jwks, line 1: \"https://a\t{{\"k\": \"{KEY}\", \"al...\""
        ));
        hides_key(&format!(
            "COPY jwks, line 1: \"https://a\t{{\"k\": \"{KEY}...\""
        ));
        hides_key(&format!(
            "COPY jwks, line 1: \"https://a,\"{{\"\"d\"\": \"\"{KEY}\"\", \"\"al...\""
        ));
        hides_key(&format!(
            "Failing row contains (a, null, {{\"d\": \"{KEY}\", \"x\": \"..., null)."
        ));
        hides_key(&format!(
            "Failing row contains (a, null, {{\"k\": \"{KEY}..., null, 2026-01-01)."
        ));
        hides_key(&format!(
            "JSON data, line 1: {{\"kty\":\"oct\",\"k\":\"{KEY}"
        ));
        // The start is cut off.
        hides_key(&format!(
            "JSON data, line 1: ...ty\":\"oct\",\"k\":\"{KEY}\",x"
        ));
        hides_key(&format!("JSON data, line 1: ...k\":\"{KEY}\"}} x"));
        hides_key(&format!(
            "JSON data, line 1: ...\":\"a\",\"p\":\"{KEY}\",\"q\":\"{KEY}\"}} x"
        ));
        for name in [
            "",
            "\"",
            ":\"",
            ": \"",
            "\": \"",
            "i\": \"",
            "qi\":\"",
            "\\\": \\\"",
            "i\\\":\\\"",
            "iv\":\"",
            "riv\": \"",
        ] {
            hides_key(&format!("JSON data, line 1: ...{name}{KEY}\",\"alg\":x"));
            hides_key(&format!("JSON data, line 1: ...{name}{KEY}\"x"));
        }
        // The cut is within the key's first characters.
        assert_eq!(
            redacted("(a, {\"k\": \"c2Vj..., null)"),
            "(a, {\"k\": \"****..., null)"
        );
        for shown in 1..KEY.len() {
            let text = redacted(&format!("row (a, {{\"k\": \"{}..., b)", &KEY[..shown]));
            assert!(!text.contains(&KEY[..shown.min(8)]) || shown < 4, "{text}");
        }
    }

    #[test]
    fn leaves_other_members_and_objects_alone() {
        leaves_alone("");
        leaves_alone(
            "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"abc\",\"kid\":\"k\",\"use\":\"sig\"}",
        );
        leaves_alone(&format!(
            "{{\"kty\":\"RSA\",\"n\":\"{KEY}\",\"e\":\"AQAB\",\"x5c\":[\"{KEY}\"]}}"
        ));
        leaves_alone(&format!(
            "INSERT INTO t VALUES ('{{\"d\":\"{KEY}\",\"k\":\"{KEY}\"}}')"
        ));
        leaves_alone(&format!(
            "Failing row contains (1, {{\"d\": \"{KEY}\"}}, 2)."
        ));
        leaves_alone("Failing row contains (1, {\"d\": \"some words\", \"k\": \"v\", \"more...).");
        leaves_alone("{\"kty\":\"oct\",\"k\":\"\",\"d\":1,\"p\":null,\"q\":[\"a\"],\"oth\":[]}");
        leaves_alone(&format!(
            "{{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"{KEY}\",\"priva\":\"{KEY}\"}}"
        ));
        leaves_alone("SELECT jwk ->> 'kty', jwk ->> 'k' FROM auth.jwks WHERE \"d\"::text = 'a'");
        leaves_alone(&format!("SELECT 'kty', '{{\"d\":\"{KEY}\"}}'"));
        // Too far away to be of the same key.
        leaves_alone(&format!(
            "{{\"d\":\"{KEY}\"}}{}{{\"kty\":\"oct\"}}",
            " ".repeat(70_000)
        ));
    }
}
