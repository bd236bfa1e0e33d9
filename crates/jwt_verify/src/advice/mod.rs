//! Advice on an error, in sentences that may be told to the sender of the token.
//!
//! [`inspect`](crate::inspect()) shows the same sentences, beside what only the owner may know.

use std::time::Duration;

use crate::algorithm::unsupported_advice;
use crate::error::Error;
use crate::numeric_date::NumericDate;
use crate::revoked_by::RevokedBy;

mod form;

pub(crate) use form::tidy;

/// The caller's words for the places where a person can change something, for one source of an
/// issuer's keys. Those that say so are clauses: the rest of a sentence, without its full stop.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A clause: how to accept an issuer that is not known.
    pub add_issuer: &'static str,
    /// The place of the issuers and their rules.
    pub issuers: &'static str,
    /// A clause: what to do about a key that is not known.
    pub unknown_key: &'static str,
    /// A clause: what to do about an issuer without keys.
    pub no_keys: &'static str,
    /// A clause: how an expired key can be used again.
    pub expired_key: &'static str,
    /// The place of the issuer's keys.
    pub keys: &'static str,
    /// A clause: how to get the keys that the issuer has now.
    pub present_keys: &'static str,
    /// Whether the issuer can have a shared secret.
    pub takes_secrets: bool,
    /// A clause: who sees which audiences are accepted, and how.
    pub audiences: &'static str,
}

/// A larger difference does not come from a wrong clock: the token is for another day.
const LARGEST_SKEW: Duration = Duration::from_secs(15 * 60);

/// A date that is further away is a mistake.
pub(crate) const A_CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

const UNITS: &str = "times are in seconds since 1970, not in milliseconds";

pub(crate) const AUDIENCE: &str = "it is another client's ID token, or was requested for another \
                                   API: request one for this audience";

/// Correction of the mistake behind an error, as a sentence without its full stop.
///
/// `token` is the text that was refused. Neither that text nor the issuer's rules are shown,
/// because anybody may send a token.
pub fn advice(token: &str, error: &Error, terms: &Terms) -> Option<String> {
    let Terms {
        issuers,
        keys,
        present_keys,
        ..
    } = terms;
    let fixed = |advice: &str| Some(advice.to_owned());
    match error {
        Error::TokenTooLong { .. }
        | Error::PartCount { .. }
        | Error::EmptyPart(_)
        | Error::NotBase64url(_)
        | Error::Json { .. } => form::mistake(token, error).map(str::to_owned),
        Error::HeaderType { name, .. } => Some(format!(
            "have the issuer write \"{name}\" as text, in quotes"
        )),
        Error::TokenType { .. } => Some(format!(
            "this may be an ID token where an access token is wanted, or the other way round; the \
             accepted types are \"token_types\" of the issuer's row in {issuers}"
        )),
        Error::UnknownAlgorithm { alg } => Some(unsupported_advice(alg.as_str())),
        Error::AlgorithmNotAllowed { alg } if alg.is_symmetric() => {
            let secret = match terms.takes_secrets {
                true => {
                    format!(", or name \"{alg}\" in the issuer's algorithms and give it the secret")
                }
                false => String::new(),
            };
            Some(format!(
                "the token is signed with a shared secret, and the issuer's keys are public ones; \
                 have it signed with a private key{secret}"
            ))
        }
        Error::AlgorithmNotAllowed { alg } => Some(format!(
            "if the issuer signs with it, name \"{alg}\" in \"algorithms\" of its row in {issuers}"
        )),
        Error::KeyAlgorithm { alg, .. } if alg.is_symmetric() => fixed(
            "the token is signed with a shared secret, and this is a public key; the signer of the \
             token used the wrong kind of key, or tries to pass a public key off as a secret",
        ),
        Error::KeyAlgorithm { .. } => fixed(
            "the key's own \"alg\", type or curve allows others only; compare it with the issuer's \
             JWKS",
        ),
        Error::UnknownIssuer { .. } => Some(format!(
            "\"iss\" is compared to the letter; to accept another issuer, {}",
            terms.add_issuer
        )),
        Error::DisabledIssuer { .. } => Some(format!(
            "set \"enabled\" of its row in {issuers} to accept it"
        )),
        Error::NoKeys { .. } => fixed(terms.no_keys),
        Error::UnknownKey { .. } => fixed(terms.unknown_key),
        Error::ExpiredKey { .. } => Some(format!(
            "if the issuer still signs with it, {}",
            terms.expired_key
        )),
        Error::AmbiguousKey { kid: Some(_), .. } => Some(format!(
            "remove those from {keys} that the issuer does not use"
        )),
        Error::AmbiguousKey { kid: None, .. } | Error::MissingKeyId => fixed(
            "have the issuer put \"kid\" into its tokens, or keep only the key that it signs with",
        ),
        Error::Signature { .. } => Some(format!(
            "the token was changed after it was signed, or signed with a key of the same name from \
             another environment; compare the key with the issuer's JWKS, and {present_keys}"
        )),
        Error::KeyIssuer { .. } => fixed(
            "the set of keys serves several tenants, and its member \"issuer\" says whose tokens \
             each key may sign; \"tid\" is the tenant that {tenantid} stands for",
        ),
        Error::AfterYear9999 { .. } => fixed(UNITS),
        Error::Expired { exp: date, .. } | Error::TooOld { iat: date, .. }
            if date.calendar().is_none() =>
        {
            fixed(UNITS)
        }
        Error::Expired { .. } => fixed("get a new token from the issuer"),
        Error::TooOld { .. } => {
            fixed("get a new token from the issuer, or raise the issuer's max_age")
        }
        Error::NotYetValid { nbf: date, now } | Error::IssuedInFuture { iat: date, now } => {
            match ahead(*date, *now) {
                ahead if ahead > A_CENTURY => fixed(UNITS),
                ahead if ahead > LARGEST_SKEW => fixed(
                    "compare the clock of the issuer with that of this server; if both are right, \
                     the token is for a later time",
                ),
                _ => fixed(
                    "compare the clock of the issuer with that of this server (NTP), or raise the \
                     issuer's leeway",
                ),
            }
        }
        Error::IssuerType { .. } => fixed("have the issuer write its name as text, in quotes"),
        Error::Audience { .. } | Error::MissingAudience => {
            Some(format!("{AUDIENCE}; {}", terms.audiences))
        }
        Error::ClaimType {
            expected: "a number",
            ..
        } => fixed("times are seconds since 1970, without quotes"),
        Error::ClaimType { claim, found, .. } if *found == "a number" => Some(format!(
            "sign it as text, as in \"{claim}\": \"42\": in JavaScript String(user.id), in Python \
             str(user.id)"
        )),
        Error::MissingClaim { .. } | Error::MissingIssuer => Some(format!(
            "have the issuer add it, or change what its row in {issuers} asks"
        )),
        Error::BoundToken => Some(format!(
            "request a token without DPoP and without a client certificate, or have a gateway check \
             the proof and set \"bound_tokens\" of the issuer's row in {issuers} to \"accept\""
        )),
        Error::Revoked { by, issued_at, .. } => match (by, issued_at) {
            (RevokedBy::Subject | RevokedBy::Issuer, None) => {
                fixed("sign in again, at an issuer that puts \"iat\" into its tokens")
            }
            _ => fixed("sign in again"),
        },
        Error::SessionEnded { .. } => fixed("sign in again"),
        Error::MissingAlgorithm
        | Error::CriticalExtension
        | Error::UnencodedPayload
        | Error::AudienceType { .. }
        | Error::ClaimType { .. } => None,
    }
}

/// Distance of a date in the future.
fn ahead(date: NumericDate, now: crate::UnixTime) -> Duration {
    date.wide().narrow().abs_diff(now)
}
