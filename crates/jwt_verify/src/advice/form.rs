//! Recognises texts that people paste instead of a token.

use crate::error::{Error, Part};
use crate::limits::MAX_TOKEN_BYTES;

/// The mistake behind an error of form, and how to correct it. Shows nothing of the text, which may
/// be a secret.
pub(super) fn mistake(text: &str, error: &Error) -> Option<&'static str> {
    let trimmed = text.trim();
    match error {
        _ if trimmed.is_empty() => Some("there is no token"),
        Error::TokenTooLong { .. } => None,
        _ if PLACEHOLDERS.contains(&trimmed) => Some(
            "this is what a program writes for a value that is not there: the variable that should \
             hold the token was empty",
        ),
        _ if trimmed.starts_with(['{', '[']) => Some(
            "this is JSON, not a token; from a token response, pass the value of \
             \"access_token\" or \"id_token\" alone",
        ),
        _ if tidy(text).is_some() => Some(pasted(text)),
        Error::PartCount { parts: 2 } if !is_encoded_object(trimmed) => Some(
            "this is no JWT; of this form are signed session cookies, which only the application that \
             set them can read: ask the issuer for a JWT",
        ),
        Error::PartCount { .. } | Error::NotBase64url(_) if text.contains('%') => {
            Some("the token is percent-encoded; decode it first")
        }
        Error::PartCount { parts: 1 } => Some(
            "this is an opaque token, whose meaning only its issuer knows; ask the issuer for a \
             JWT (many do so once an audience, or API, is named in the request)",
        ),
        Error::PartCount { parts: 2 } | Error::EmptyPart(Part::Signature) => Some(
            "there is no signature: the token was cut off, or is an unsecured one (alg \"none\"), \
             which is never accepted",
        ),
        Error::PartCount { parts: 5 } => Some(
            "this is an encrypted token (JWE), which only its audience can read; ask the issuer \
             for a signed token (JWS)",
        ),
        Error::EmptyPart(Part::Payload) => {
            Some("the payload is detached, and a JWT carries its own")
        }
        Error::NotBase64url(_) if has_any(text, &['+', '/']) => {
            Some("a part is in ordinary base64; JWTs use the URL-safe alphabet, without padding")
        }
        Error::NotBase64url(_) if text.contains('=') => Some(
            "a part is padded with \"=\", as AWS ALB writes it; JWTs use the URL-safe alphabet without \
             padding: forward the issuer's access token (x-amzn-oidc-accesstoken)",
        ),
        Error::NotBase64url(_) => {
            Some("a part has a character too many or too few, or one that base64url does not have")
        }
        _ => None,
    }
}

/// Texts that programs write for a missing value.
const PLACEHOLDERS: [&str; 6] = ["undefined", "null", "None", "nil", "NaN", "[object Object]"];

/// Whether it begins as the base64url of a JSON object does, `{"`.
fn is_encoded_object(text: &str) -> bool {
    text.starts_with("eyJ")
}

fn pasted(text: &str) -> &'static str {
    let trimmed = text.trim();
    if without_bearer(trimmed.trim_matches(QUOTES)).is_some() {
        "\"Bearer\" belongs to the HTTP header, not to the token; pass only what follows it"
    } else if trimmed.starts_with(QUOTES) || trimmed.ends_with(QUOTES) {
        "the token is in quotes; pass it without them"
    } else {
        "there is white space or a line break in or around the token; remove it"
    }
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// The token without the text that people paste along with it, if there is any.
pub(crate) fn tidy(text: &str) -> Option<String> {
    // The text around a pasted token is short. A longer text is not searched for a token.
    if text.len() > MAX_TOKEN_BYTES.saturating_mul(2) {
        return None;
    }
    let inner = text.trim().trim_matches(QUOTES).trim();
    let inner = without_bearer(inner).unwrap_or(inner);
    let inner = inner.trim().trim_matches(QUOTES);
    if inner.split('.').take(4).count() != 3 || inner.starts_with(['{', '[']) {
        return None;
    }
    let is_untidy = inner.len() < text.len() || has_any(inner, &[' ', '\n', '\r', '\t', '\u{a0}']);
    is_untidy.then(|| inner.split_whitespace().collect())
}

fn has_any(text: &str, chars: &[char]) -> bool {
    chars.iter().any(|&char| text.contains(char))
}

fn without_bearer(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_at_checked("Bearer ".len())?;
    prefix.eq_ignore_ascii_case("Bearer ").then_some(rest)
}
