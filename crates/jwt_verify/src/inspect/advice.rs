//! Advice on what to do about an error.

use std::fmt::Write;
use std::time::Duration;

use super::Places;
use crate::error::{Error, KEY_ISSUER, UNITS};
use crate::excerpt::Excerpt;
use crate::header::Header;
use crate::keyring::{Issuer, Keyring};
use crate::numeric_date::NumericDate;
use crate::policy::Policy;
use crate::time::{Roughly, UnixTime};

/// How many names a list shows.
const MAX_LISTED: usize = 5;

/// A larger difference does not come from a wrong clock: the token is for another day.
const LARGEST_SKEW: Duration = Duration::from_secs(15 * 60);

/// Nobody means a date that is further away.
pub(super) const A_CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Added to an `exp` that is accepted and further away than that.
pub(super) const FAR_EXP: &str = ": accepted, but in effect the token never expires";

/// The first few of `items`, quoted.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (index, item) in items.enumerate() {
        match index {
            0 => {}
            MAX_LISTED => {
                text.push_str(", …");
                break;
            }
            _ => text.push_str(", "),
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", Excerpt::new(item));
    }
    if text.is_empty() {
        text.push_str("none");
    }
    text
}

pub(super) fn header(error: &Error, policy: Option<&Policy>) -> String {
    match error {
        Error::UnknownAlgorithm { alg } if alg.as_str().eq_ignore_ascii_case("none") => {
            format!("{error}: the token is not signed, so anybody can have written it")
        }
        Error::TokenType { .. } => {
            let types = policy.and_then(|policy| policy.token_types.as_deref());
            let types = list(types.unwrap_or_default().iter().map(String::as_str));
            format!(
                "{error}: the issuer's token types are {types}; this may be an ID token where an \
                 access token is wanted, or the other way round"
            )
        }
        _ => error.to_string(),
    }
}

pub(super) fn issuer(
    error: &Error,
    iss: Option<&str>,
    keyring: &Keyring,
    places: &Places,
) -> String {
    match error {
        Error::UnknownIssuer { .. } => {
            let stored = list(keyring.issuer_names());
            let nearly = iss.and_then(|iss| {
                keyring
                    .issuer_names()
                    .find(|name| folded(name) == folded(iss))
            });
            match (nearly, iss) {
                (Some(nearly), Some(iss)) => format!(
                    "{error}, but {} is: the two differ by {}, and must be the same to the \
                     letter; store the issuer as the token has it",
                    Excerpt::new(nearly),
                    difference(nearly, iss),
                ),
                _ => format!(
                    "{error}: known are {stored}; add it with {}, or the token is from another \
                     environment",
                    places.load_keys
                ),
            }
        }
        Error::DisabledIssuer { .. } => {
            format!(
                "{error}: set \"enabled\" of its row in {} to accept it",
                places.issuers
            )
        }
        _ => error.to_string(),
    }
}

/// An issuer's name without the differences that people overlook.
fn folded(name: &str) -> String {
    let name = name.trim().to_lowercase();
    let name = name
        .strip_prefix("https://")
        .or_else(|| name.strip_prefix("http://"))
        .unwrap_or(&name);
    name.trim_end_matches('/').to_owned()
}

fn difference(stored: &str, iss: &str) -> &'static str {
    if stored.trim_end_matches('/') == iss.trim_end_matches('/') {
        "a slash at the end"
    } else if stored.to_lowercase() == iss.to_lowercase() {
        "upper and lower case"
    } else if stored.trim() == iss.trim() {
        "white space around it"
    } else {
        "their scheme, a slash at the end, white space or case"
    }
}

pub(super) fn key(error: &Error, issuer: &Issuer, header: &Header<'_>, places: &Places) -> String {
    let policy = issuer.policy();
    match error {
        Error::AlgorithmNotAllowed { alg } if alg.is_symmetric() => format!(
            "{error}: the token is signed with a shared secret, and the issuer's keys are public \
             ones ({}); have it signed with a private key, or name \"{alg}\" in the issuer's \
             algorithms and give it the secret",
            policy.algorithms
        ),
        Error::AlgorithmNotAllowed { .. } => {
            format!("{error}: its algorithms are {}", policy.algorithms)
        }
        Error::KeyAlgorithm { alg, .. } if alg.is_symmetric() => format!(
            "{error}: the token is signed with a shared secret, and this is a public key; the \
             signer of the token used the wrong kind of key, or tries to pass a public key off as a \
             secret"
        ),
        Error::KeyAlgorithm { .. } => format!(
            "{error}: the key's own \"alg\", type or curve allows others only; compare it with \
             the issuer's JWKS"
        ),
        Error::UnknownKey { .. } => format!(
            "{error}: it has {}; if the issuer has rotated its keys, load its present JWKS with {}, \
             else the token is from another environment",
            list(sorted(issuer.key_ids()).into_iter()),
            places.load_keys
        ),
        Error::ExpiredKey { .. } => format!(
            "{error}: if the issuer still signs with it, set a later \"expires_at\" in {}",
            places.keys
        ),
        Error::NoKeys { .. } => format!("{error}: load its JWKS with {}", places.load_keys),
        Error::KeyIssuer { .. } => format!("{error}: {KEY_ISSUER}"),
        Error::AmbiguousKey { .. } if header.kid.is_some() => {
            format!(
                "{error}: remove those from {} that the issuer does not use",
                places.keys
            )
        }
        Error::AmbiguousKey { .. } | Error::MissingKeyId => format!(
            "{error}: have the issuer put \"kid\" into its tokens, or keep only the key that it \
             signs with"
        ),
        _ => error.to_string(),
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

pub(super) fn signature(
    error: &Error,
    header: &Header<'_>,
    found: usize,
    expected: usize,
    places: &Places,
) -> String {
    let alg = header.alg;
    if found != expected {
        return format!(
            "{error}: it has {found} bytes, and with this key {alg} signatures have {expected}; \
             the token was cut off, or signed with another key or in another format (such as \
             ASN.1 DER)"
        );
    }
    format!(
        "{error}: the token was changed after it was signed, or signed with a key of the same \
         name from another environment; compare the key with the issuer's JWKS, and load that \
         with {}",
        places.load_keys
    )
}

/// The distance of the date from now, for a message.
fn distance(date: NumericDate, now: UnixTime) -> Roughly {
    Roughly(date.wide().narrow().abs_diff(now))
}

pub(super) fn claim(error: &Error, policy: &Policy, places: &Places) -> String {
    let leeway = Roughly(policy.leeway);
    match error {
        Error::Expired { exp: date, .. }
        | Error::TooOld { iat: date, .. }
        | Error::NotYetValid { nbf: date, .. }
        | Error::IssuedInFuture { iat: date, .. }
            if date.calendar().is_none() =>
        {
            format!("{error}: {UNITS}")
        }
        Error::Expired { exp, now } => format!(
            "{error}: that is {} ago, and the leeway is {leeway}; get a fresh token, and if that \
             is refused too, compare the clocks, as here it is {}",
            distance(*exp, *now),
            now
        ),
        Error::TooOld { iat, now, .. } => format!(
            "{error}: that is {} ago; sign in again, or raise the issuer's max_age",
            distance(*iat, *now)
        ),
        Error::NotYetValid { nbf: date, now } | Error::IssuedInFuture { iat: date, now } => {
            let ahead = date.wide().narrow().abs_diff(*now);
            if ahead > A_CENTURY {
                format!("{error}: {UNITS}")
            } else if ahead > LARGEST_SKEW {
                let ahead = Roughly(ahead);
                format!("{error}: that is {ahead} ahead, as here it is {now}")
            } else {
                format!(
                    "{error}: that is {} ahead, and the leeway is {leeway}; the clocks of the \
                     issuer and of this server differ, so check both (NTP), or raise the issuer's \
                     leeway",
                    Roughly(ahead)
                )
            }
        }
        Error::AfterYear9999 { .. } => format!("{error}: {UNITS}"),
        Error::ClaimType {
            expected: "a number",
            ..
        } => format!("{error}: times are seconds since 1970, without quotes"),
        Error::MissingClaim { .. } | Error::MissingIssuer | Error::MissingAudience => {
            format!(
                "{error}: have the issuer add it, or change what its row in {} asks",
                places.issuers
            )
        }
        _ => error.to_string(),
    }
}

pub(super) fn audience(error: &Error, has: &str, accepted: &str, places: &Places) -> String {
    match error {
        Error::Audience { .. } => format!(
            "{error}: the token is for {has}, and accepted is {accepted}; it is another client's \
             ID token, or was requested for another API: request one for this audience, or add \
             the audience to the issuer's row in {}",
            places.issuers
        ),
        Error::MissingAudience => format!(
            "{error}: accepted is {accepted}; request a token with an audience, or set the \
             issuer's audience to null"
        ),
        _ => error.to_string(),
    }
}
