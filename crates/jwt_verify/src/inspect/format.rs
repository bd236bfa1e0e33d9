//! What people paste instead of a token.

use crate::error::{Error, Part};
use crate::limits::MAX_TOKEN_BYTES;

/// The mistake behind an error of form, and its mend. Nothing of the text is
/// shown: it may be somebody's secret.
pub(super) fn explain(text: &str, error: &Error) -> String {
    let trimmed = text.trim();
    let mistake = match error {
        _ if trimmed.is_empty() => Some("there is no token"),
        Error::TokenTooLong { .. } => None,
        _ if trimmed.starts_with(['{', '[']) => Some(
            "this is JSON, not a token; from a token response, pass the value of \
             \"access_token\" or \"id_token\" alone",
        ),
        _ if bare(text).is_some_and(|bare| bare.len() < text.len()) => Some(pasted(text)),
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
        Error::NotBase64url(_) if text.contains('%') => {
            Some("the token is percent-encoded; decode it first")
        }
        Error::NotBase64url(_) if text.contains(['=', '+', '/']) => {
            Some("a part is in ordinary base64; JWTs use the URL-safe alphabet, without padding")
        }
        Error::NotBase64url(_) => {
            Some("a part has a character too many or too few, or one that base64url does not have")
        }
        _ => None,
    };
    match mistake {
        Some(mistake) => format!("{error}: {mistake}"),
        None => error.to_string(),
    }
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

/// The token without what people paste along with it, where there is such.
pub(super) fn tidy(text: &str) -> Option<String> {
    bare(text).filter(|bare| bare.len() < text.len())
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

fn bare(text: &str) -> Option<String> {
    // What is cut away is short, or the token is none.
    if text.len() > MAX_TOKEN_BYTES.saturating_mul(2) {
        return None;
    }
    let inner = text.trim().trim_matches(QUOTES).trim();
    let inner = without_bearer(inner).unwrap_or(inner);
    let inner = inner.trim().trim_matches(QUOTES);
    let bare: String = inner.chars().filter(|char| !char.is_whitespace()).collect();
    let is_token_like = bare.split('.').count() == 3 && !bare.starts_with(['{', '[']);
    is_token_like.then_some(bare)
}

fn without_bearer(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_at_checked("Bearer ".len())?;
    prefix.eq_ignore_ascii_case("Bearer ").then_some(rest)
}
