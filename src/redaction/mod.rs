//! Finds secrets in a text and puts a placeholder in their place: tokens ([`token`]) and the secret
//! members of JWKs ([`jwk`]).
//!
//! It runs in places where a panic would end the server (see [`crate::redaction::hooks`]), and on
//! texts of any size and content. So it cannot panic, allocates nothing, and its work is linear in
//! the text's length.

pub mod hooks;
mod jwk;
mod token;

use std::ops::Range;

use crate::pg::search;

/// Whether a text is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A statement as the client sent it.
    Whole,
    /// A message, or a text out of one: Postgres cuts rows and lines that it quotes, and writes
    /// `...` at the cut.
    MayBeCut,
}

/// Whether there is a token or a secret member of a JWK in the text.
pub fn holds_secret(text: &[u8], extent: Extent) -> bool {
    /// Fewest bytes of a token that a key could have signed, which is one with an HMAC of 32 bytes
    /// (43 characters of base64url), and fewer than those of a JWK with a key of that size.
    const SHORTEST_SECRET: usize = 60;
    if extent == Extent::Whole && text.len() < SHORTEST_SECRET {
        return false;
    }
    // A member's name has quotes around it. Most statements have none, and end here.
    let may_hold_member = || extent == Extent::MayBeCut || search::find(b'"', text).is_some();
    token::find(text, 0).is_some()
        || (may_hold_member() && jwk::Search::new(extent).find(text, 0).is_some())
}

/// Whether a token or a JWK may be in a tree of nodes as Postgres prints it: it breaks lines
/// anywhere, and prints constants, and bound parameters, as the decimal numbers of their bytes. So
/// this looks for the beginning of each token, and for the member of each JWK, with white space
/// anywhere.
pub fn may_be_in_tree(tree: &[u8]) -> bool {
    /// `eyJ` and `kty`, as text and as numbers.
    const SIGNS: [&[u8]; 4] = [b"eyJ", b"kty", b"10112174", b"107116121"];
    /// The length of the longest.
    const LONGEST: usize = 9;

    let mut last = [0_u8; LONGEST];
    tree.iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .any(|&byte| {
            last.rotate_left(1);
            if let Some(end) = last.last_mut() {
                *end = byte;
            }
            SIGNS.iter().any(|sign| last.ends_with(sign))
        })
}

/// Replaces each token, and each secret member of a JWK, in a text that may be cut. Returns its new
/// length, which is no greater than before; the bytes after it are undefined.
pub fn redact(text: &mut [u8]) -> usize {
    let length = replace(text, b"<token>", token::find);
    let mut search = jwk::Search::new(Extent::MayBeCut);
    let text = text.get_mut(..length).unwrap_or_default();
    replace(text, b"<secret>", |text, from| search.find(text, from))
}

/// Replaces each find of `find`, from left to right. Moves each byte once, whatever the number of
/// finds.
fn replace(
    text: &mut [u8],
    placeholder: &[u8],
    mut find: impl FnMut(&[u8], usize) -> Option<Range<usize>>,
) -> usize {
    let (mut read, mut written) = (0, 0);
    while let Some(secret) = find(text, read) {
        written = move_back(text, read..secret.start, written);
        let place = text.iter_mut().skip(written).take(secret.len());
        if placeholder.len() <= secret.len() {
            place.zip(placeholder).for_each(|(to, from)| *to = *from);
            written = written.saturating_add(placeholder.len());
        } else {
            place.for_each(|to| *to = b'*');
            written = written.saturating_add(secret.len());
        }
        read = secret.end;
    }
    let end = text.len();
    move_back(text, read..end, written)
}

/// Moves a part of the text to an earlier place; returns its new end.
fn move_back(text: &mut [u8], part: Range<usize>, to: usize) -> usize {
    let length = part.len();
    // copy_within panics otherwise.
    if to <= part.start && part.start <= part.end && part.end <= text.len() {
        text.copy_within(part, to);
    }
    to.saturating_add(length)
}

/// Counts the bytes that a search looks at, for the tests of its cost.
#[inline]
fn visit(bytes: usize) -> usize {
    #[cfg(test)]
    tests::VISITED.set(tests::VISITED.get().saturating_add(bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        pub static VISITED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln";
    const KEY: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U";

    pub fn redacted(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let length = redact(&mut bytes);
        bytes.truncate(length);
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn replaces_tokens_and_keys_in_one_text() {
        assert_eq!(
            redacted(&format!(
                "a {TOKEN} b {{\"k\": \"{KEY}\", \"kty\": \"oct\"}} c {TOKEN} d {{\"kty\": \"oct\", \"k\": \"{KEY}\"}}"
            )),
            "a <token> b {\"k\": \"<secret>\", \"kty\": \"oct\"} c <token> d {\"kty\": \"oct\", \"k\": \"<secret>\"}"
        );
    }

    #[test]
    fn finds_what_a_printed_tree_may_hold() {
        let numbers = |text: &str| {
            let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
            numbers.join(" ")
        };
        let jwk = format!("{{\"k\": \"{KEY}\", \"kty\": \"oct\"}}");
        for secret in [TOKEN, &jwk] {
            for printed in [secret.to_owned(), numbers(secret)] {
                let printed = format!("   {{CONST :consttype 25 :constvalue 9 [ {printed} ]}}");
                assert!(may_be_in_tree(printed.as_bytes()));
                for at in 0..printed.len() {
                    let (start, end) = printed.split_at(at);
                    assert!(may_be_in_tree(format!("{start}\n      {end}").as_bytes()));
                }
            }
        }
        for harmless in [
            "",
            "k t",
            "{VAR :varno 1 :varattno 1 :vartype 23}",
            &numbers(KEY),
        ] {
            assert!(!may_be_in_tree(harmless.as_bytes()), "{harmless}");
        }
    }

    /// Texts of `length` bytes that would be costly for a search which begins again at each find.
    fn costly(length: usize) -> Vec<String> {
        [
            "x".to_owned(),
            ".".to_owned(),
            ":".to_owned(),
            "\"".to_owned(),
            "\\".to_owned(),
            " ".to_owned(),
            "{".to_owned(),
            "[".to_owned(),
            "e".to_owned(),
            "ey".to_owned(),
            "eyJ".to_owned(),
            "eyJ.".to_owned(),
            "kty".to_owned(),
            "\"kty\":".to_owned(),
            "\"kty\":\"".to_owned(),
            "\"k\":".to_owned(),
            "\"k\":\"".to_owned(),
            "\"k\":\"...".to_owned(),
            "\"k\": \"a\",".to_owned(),
            "\"oth\":[".to_owned(),
            "...a".to_owned(),
            "...abcdefghijklmnopqrst".to_owned(),
            "...abcdefghijklmnopqrst\"".to_owned(),
            "eyJhbGciOiJIUzI1NiJ9.".to_owned(),
            "eyJhbGciOiJIUzI1NiJ9.eyJ ".to_owned(),
            "INSERT INTO t VALUES (1, 'eyes.eyes');".to_owned(),
            format!("'{TOKEN}',"),
            format!("{{\"k\":\"{KEY}\"}},"),
            format!("{{\"k\":\"{KEY}\",\"kty\":\"oct\"}},"),
            format!("{{\"kty\":\"RSA\",\"oth\":[{{\"d\":\"{KEY}\"}}]}},"),
        ]
        .iter()
        .flat_map(|part| {
            let long = part.repeat(length / part.len());
            // Texts with the searched bytes out of reach at the end, or all at once.
            [
                format!("{long}{{\"kty\":\"oct\"}}"),
                format!("{{\"kty\":\"oct\"}}{long}"),
                format!("{long}.eyJ"),
                long,
            ]
        })
        .collect()
    }

    #[test]
    fn looks_at_each_byte_a_bounded_number_of_times() {
        for text in costly(20_000).into_iter().chain(costly(200_000)) {
            VISITED.set(0);
            holds_secret(text.as_bytes(), Extent::Whole);
            redacted(&text);
            let visits = VISITED.get();
            assert!(visits >= text.len(), "{:?}", &text[..30]);
            assert!(
                visits <= 20 * text.len(),
                "{visits} bytes for {} of {:?}",
                text.len(),
                &text[..30]
            );
        }
    }

    #[test]
    fn never_makes_a_text_longer_nor_panics_where_it_is_cut() {
        let text = format!(
            "a {TOKEN} {{\"d\": \"{KEY}\", \"p\" : \"a\", \\\"q\\\":\\\"{KEY}\\\", \"\"dp\"\":\"\"x\"\", \"oth\": [{{\"r\": \"{KEY}\"}}], \"kty\": \"RSA\"}} ...{KEY}\" z"
        );
        for start in 0..text.len() {
            for end in start..text.len().min(start + 100) {
                assert!(redacted(&text[start..end]).len() <= end - start);
                assert!(redacted(&format!("...{}...", &text[start..end])).len() <= end - start + 6);
            }
        }
    }
}
