//! The details of steps that fail: the error, what only the owner may know, and the advice.

use std::fmt::Write;

use shared_types::Excerpt;

use crate::advice::{AUDIENCE, Terms, advice};
use crate::error::Error;
use crate::header::Header;
use crate::keyring::{Issuer, Keyring};
use crate::numeric_date::NumericDate;
use crate::policy::Policy;
use crate::time::{Roughly, UnixTime};

/// Maximum number of names in a list.
const MAX_LISTED: usize = 5;

/// Added to an `exp` that is accepted and more than [`A_CENTURY`](crate::advice::A_CENTURY) away.
pub(super) const FAR_EXP: &str = ": accepted, but in effect the token never expires";

/// The first few of `items`, quoted.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (index, item) in items.enumerate() {
        match index {
            0 => {}
            MAX_LISTED => {
                text.push_str(", ...");
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

/// The error with its advice, preceded by the known facts about the token and the issuer.
pub(super) fn of(error: &Error, known: Option<String>, token: &str, terms: &Terms) -> String {
    let mut detail = error.to_string();
    let mut separator = ": ";
    for part in known.into_iter().chain(advice(token, error, terms)) {
        detail.push_str(separator);
        detail.push_str(&part);
        separator = "; ";
    }
    detail
}

pub(super) fn header(error: &Error, policy: Option<&Policy>, terms: &Terms) -> String {
    let types = policy.and_then(|policy| policy.token_types.as_deref());
    let known = match error {
        Error::TokenType { .. } => Some(format!(
            "the issuer's token types are {}",
            list(types.unwrap_or_default().iter().map(String::as_str))
        )),
        _ => None,
    };
    of(error, known, "", terms)
}

pub(super) fn issuer(error: &Error, iss: Option<&str>, keyring: &Keyring, terms: &Terms) -> String {
    if !matches!(error, Error::UnknownIssuer { .. }) {
        return of(error, None, "", terms);
    }
    let names = || keyring.issuer_names();
    let is_nearly = |name: &&str| iss.is_some_and(|iss| folded(name) == folded(iss));
    let begins = |name: &&str| iss.is_some_and(|iss| one_begins_with_the_other(name, iss));
    if let (Some(nearly), Some(iss)) = (names().find(is_nearly), iss) {
        return format!(
            "{error}, but {} is: the two differ by {}, and must be the same to the letter; store \
             the issuer as the token has it",
            Excerpt::new(nearly),
            difference(nearly, iss),
        );
    }
    let known = match names().find(begins) {
        Some(name) => format!(
            "known is {}, and one of the two begins with the other",
            Excerpt::new(name)
        ),
        None => format!(
            "known are {}, so the token may be from another environment",
            list(sorted(names()).into_iter())
        ),
    };
    of(error, Some(known), "", terms)
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

/// Whether one is the other with a path after it, as if an issuer has begun to name the client.
fn one_begins_with_the_other(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let short = short.trim_end_matches('/');
    !short.is_empty()
        && long
            .strip_prefix(short)
            .is_some_and(|rest| rest.starts_with('/'))
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

pub(super) fn key(error: &Error, issuer: &Issuer, terms: &Terms) -> String {
    let known = match error {
        Error::AlgorithmNotAllowed { .. } => {
            Some(format!("its algorithms are {}", issuer.policy().algorithms))
        }
        Error::UnknownKey { .. } => Some(format!(
            "it has {}",
            list(sorted(issuer.key_ids()).into_iter())
        )),
        _ => None,
    };
    of(error, known, "", terms)
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
    terms: &Terms,
) -> String {
    let alg = header.alg;
    if found != expected {
        return format!(
            "{error}: it has {found} bytes, and with this key {alg} signatures have {expected}; \
             the token was cut off, or signed with another key or in another format (such as \
             ASN.1 DER)"
        );
    }
    of(error, None, "", terms)
}

/// The distance of the date from now; none if it is not written as a date.
fn distance(date: NumericDate, now: UnixTime) -> Option<Roughly> {
    let time = date.calendar()?;
    Some(Roughly(time.abs_diff(now)))
}

pub(super) fn claim(error: &Error, policy: &Policy, terms: &Terms) -> String {
    let leeway = Roughly(policy.leeway);
    let known = match error {
        Error::Expired { exp, now } => distance(*exp, *now).map(|ago| {
            format!("here it is {now}, so that is {ago} ago, and the leeway is {leeway}")
        }),
        Error::TooOld { iat, now, .. } => {
            distance(*iat, *now).map(|ago| format!("that is {ago} ago"))
        }
        Error::NotYetValid { nbf: date, now } | Error::IssuedInFuture { iat: date, now } => {
            distance(*date, *now).map(|ahead| {
                format!("here it is {now}, so that is {ahead} ahead, and the leeway is {leeway}")
            })
        }
        _ => None,
    };
    of(error, known, "", terms)
}

pub(super) fn audience(error: &Error, has: &str, accepted: &str, terms: &Terms) -> String {
    match error {
        Error::Audience { .. } => format!(
            "{error}: the token is for {has}, and accepted is {accepted}; {AUDIENCE}, or add the \
             audience to the issuer's row in {}",
            terms.issuers
        ),
        Error::MissingAudience => format!(
            "{error}: accepted is {accepted}; request a token with an audience, or set the \
             issuer's audience to null"
        ),
        _ => of(error, None, "", terms),
    }
}
