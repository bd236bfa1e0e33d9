//! Why a token was refused.

use std::fmt;
use std::time::Duration;

use shared_types::Excerpt;

use crate::algorithm::Algorithm;
use crate::json::JsonError;
use crate::limits::{MAX_KEYS_TRIED, MAX_TOKEN_BYTES};
use crate::numeric_date::NumericDate;
use crate::policy::DEFAULT_TOKEN_TYPE;
use crate::revoked_by::RevokedBy;
use crate::time::{Roughly, UnixTime};

/// One of the three parts of a token (RFC 7515 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The JOSE header, before the first dot.
    Header,
    /// The claims, between the dots.
    Payload,
    /// The signature, after the second dot.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// The rule that refused a token, with the values needed to find the cause.
///
/// Neither `Display` nor `Debug` shows a token, a signature or a key. Strings that come from the
/// token are [`Excerpt`]s; times are displayed as dates if they have one.
///
/// Not `non_exhaustive`, on purpose: a caller that gives each error a code has to decide about each
/// new error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The token is longer than [`MAX_TOKEN_BYTES`].
    TokenTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The token does not have three parts (RFC 7515 §7.1).
    PartCount {
        /// The number of its parts.
        parts: usize,
    },
    /// A part is empty: an unsecured or detached token, or an empty text.
    EmptyPart(Part),
    /// A part is not unpadded, canonical base64url (RFC 7515 §2).
    NotBase64url(Part),
    /// The header or the payload is not an acceptable JSON object.
    Json {
        /// The header or the payload.
        part: Part,
        /// The error, and the member that has it.
        error: JsonError,
    },
    /// The header has no `alg` (RFC 7515 §4.1.1).
    MissingAlgorithm,
    /// A header parameter is of the wrong type.
    HeaderType {
        /// The parameter's name.
        name: &'static str,
        /// The required type.
        expected: &'static str,
        /// The actual type.
        found: &'static str,
    },
    /// The header has `crit`; no extension is understood (RFC 7515 §4.1.11).
    CriticalExtension,
    /// The header has a `b64` other than `true`: a JWT's payload is always
    /// encoded (RFC 7797 §7).
    UnencodedPayload,
    /// `typ` is not one of the issuer's token types (RFC 8725 §3.11).
    TokenType {
        /// The header's `typ`; absent, it counts as `JWT`.
        typ: Option<Excerpt>,
    },
    /// `alg` does not name a signature algorithm that is supported, nor does `none` (RFC 8725 §3.2).
    UnknownAlgorithm {
        /// The header's `alg`.
        alg: Excerpt,
    },
    /// The issuer does not use the algorithm (RFC 8725 §3.1).
    AlgorithmNotAllowed {
        /// The header's `alg`.
        alg: Algorithm,
    },
    /// No key that the token may use takes its algorithm (RFC 8725 §3.1).
    KeyAlgorithm {
        /// The header's `alg`.
        alg: Algorithm,
        /// The header's `kid`.
        kid: Option<Excerpt>,
    },
    /// No issuer of this name is known, and no row accepts any issuer.
    UnknownIssuer {
        /// The claim `iss`.
        issuer: Option<Excerpt>,
    },
    /// The issuer is disabled.
    DisabledIssuer {
        /// The claim `iss`.
        issuer: Option<Excerpt>,
    },
    /// The issuer has no usable key at all.
    NoKeys {
        /// The claim `iss`.
        issuer: Option<Excerpt>,
    },
    /// The issuer has no key of this `kid` (RFC 7515 §4.1.4).
    UnknownKey {
        /// The header's `kid`.
        kid: Excerpt,
    },
    /// The issuer's key of this `kid` has expired.
    ExpiredKey {
        /// The header's `kid`.
        kid: Excerpt,
        /// The time when it expired.
        expired: UnixTime,
    },
    /// Several keys could have signed the token, and it does not say which.
    AmbiguousKey {
        /// The header's `alg`.
        alg: Algorithm,
        /// The header's `kid`.
        kid: Option<Excerpt>,
    },
    /// The token has no `kid`, and its issuer has more than
    /// [`MAX_KEYS_TRIED`] keys.
    MissingKeyId,
    /// The signature is not that of the header and payload by the key
    /// (RFC 7515 §5.2).
    Signature {
        /// The header's `alg`.
        alg: Algorithm,
        /// The header's `kid`.
        kid: Option<Excerpt>,
    },
    /// The key is bound to another issuer, or the token lacks the tenant that the key's issuer
    /// depends on.
    KeyIssuer {
        /// The header's `kid`.
        kid: Option<Excerpt>,
        /// The key's own `issuer`.
        bound: Excerpt,
    },
    /// The token has expired (RFC 7519 §4.1.4).
    Expired {
        /// The claim `exp`.
        exp: NumericDate,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token was issued too long ago.
    TooOld {
        /// The claim `iat`.
        iat: NumericDate,
        /// Time for which the issuer's tokens are accepted after `iat`.
        max_age: Duration,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token is not valid yet (RFC 7519 §4.1.5).
    NotYetValid {
        /// The claim `nbf`.
        nbf: NumericDate,
        /// The time of the check.
        now: UnixTime,
    },
    /// The token was issued in the future (RFC 7519 §4.1.6).
    IssuedInFuture {
        /// The claim `iat`.
        iat: NumericDate,
        /// The time of the check.
        now: UnixTime,
    },
    /// `iss` is not a string (RFC 7519 §4.1.1).
    IssuerType {
        /// The actual type.
        found: &'static str,
    },
    /// `iss` is required and absent.
    MissingIssuer,
    /// `aud` is neither a string nor an array of strings (RFC 7519 §4.1.3).
    AudienceType {
        /// The actual type.
        found: &'static str,
    },
    /// `aud` is required and absent.
    MissingAudience,
    /// `aud` contains none of the issuer's audiences (RFC 7519 §4.1.3).
    Audience {
        /// The first of its values, if it has one.
        audience: Option<Excerpt>,
    },
    /// A required claim is absent, or null.
    MissingClaim {
        /// The claim's name.
        claim: Excerpt,
    },
    /// A claim is of the wrong type.
    ClaimType {
        /// The claim's name.
        claim: &'static str,
        /// The required type.
        expected: &'static str,
        /// The actual type.
        found: &'static str,
    },
    /// The token is bound to a key of its holder (claim `cnf`, RFC 7800), and the issuer's bound
    /// tokens are refused.
    BoundToken,
    /// The token is revoked.
    Revoked {
        /// The tokens that the revocation is for.
        by: RevokedBy,
        /// Those issued before this time; [`UnixTime::MAX`] for all.
        issued_before: UnixTime,
        /// The claim `iat`.
        issued_at: Option<NumericDate>,
        /// The issuer's leeway, which is added to that time.
        leeway: Duration,
    },
    /// The session that the token names has ended at its issuer.
    SessionEnded {
        /// The claim that names the session.
        claim: Excerpt,
        /// When it ended; `None` if the issuer does not know it any more.
        ended: Option<UnixTime>,
    },
    /// A date lies after the year 9999, as one does that is written in milliseconds.
    AfterYear9999 {
        /// The claim's name.
        claim: &'static str,
        /// Its value.
        date: NumericDate,
    },
}

/// The class of an [`Error`]: what a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Malformed token.
    Malformed,
    /// Algorithm not allowed.
    Algorithm,
    /// No key for this token.
    Key,
    /// The issuer is not known.
    UnknownIssuer,
    /// The signature does not match.
    Signature,
    /// Expired, or older than `max_age`.
    Expired,
    /// Not valid yet.
    NotYetValid,
    /// `iss` malformed or refused.
    Issuer,
    /// Audience refused.
    Audience,
    /// Another claim missing, malformed or refused.
    Claim,
    /// Revoked.
    Revoked,
}

impl Error {
    /// The error's class.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TokenTooLong { .. }
            | Self::PartCount { .. }
            | Self::EmptyPart(_)
            | Self::NotBase64url(_)
            | Self::Json { .. }
            | Self::MissingAlgorithm
            | Self::HeaderType { .. }
            | Self::CriticalExtension
            | Self::UnencodedPayload
            | Self::TokenType { .. } => ErrorKind::Malformed,
            Self::UnknownAlgorithm { .. }
            | Self::AlgorithmNotAllowed { .. }
            | Self::KeyAlgorithm { .. } => ErrorKind::Algorithm,
            Self::UnknownIssuer { .. } => ErrorKind::UnknownIssuer,
            Self::DisabledIssuer { .. }
            | Self::NoKeys { .. }
            | Self::UnknownKey { .. }
            | Self::ExpiredKey { .. }
            | Self::AmbiguousKey { .. }
            | Self::MissingKeyId => ErrorKind::Key,
            Self::Signature { .. } => ErrorKind::Signature,
            Self::Expired { .. } | Self::TooOld { .. } => ErrorKind::Expired,
            Self::NotYetValid { .. } | Self::IssuedInFuture { .. } => ErrorKind::NotYetValid,
            Self::IssuerType { .. } | Self::MissingIssuer | Self::KeyIssuer { .. } => {
                ErrorKind::Issuer
            }
            Self::AudienceType { .. } | Self::MissingAudience | Self::Audience { .. } => {
                ErrorKind::Audience
            }
            Self::MissingClaim { .. }
            | Self::ClaimType { .. }
            | Self::BoundToken
            | Self::AfterYear9999 { .. } => ErrorKind::Claim,
            Self::Revoked { .. } | Self::SessionEnded { .. } => ErrorKind::Revoked,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenTooLong { bytes } => write!(
                f,
                "token of {bytes} bytes is longer than {MAX_TOKEN_BYTES} bytes"
            ),
            Self::PartCount { parts: 1 } => write!(f, "token has 1 part, not 3"),
            Self::PartCount { parts } => write!(f, "token has {parts} parts, not 3"),
            Self::EmptyPart(part) => write!(f, "token has an empty {part}"),
            Self::NotBase64url(part) => write!(f, "token {part} is not unpadded base64url"),
            Self::Json { part, error } => write!(f, "token {part} {error}"),
            Self::MissingAlgorithm => write!(f, "token header has no \"alg\""),
            Self::HeaderType {
                name,
                expected,
                found,
            } => write!(
                f,
                "header parameter \"{name}\" must be {expected}, but is {found}"
            ),
            Self::CriticalExtension => write!(
                f,
                "token header has \"crit\", and no critical extension is understood"
            ),
            Self::UnencodedPayload => {
                write!(f, "token header has \"b64\", and its value is not true")
            }
            Self::TokenType { typ: Some(typ) } => write!(f, "token type {typ} is not accepted"),
            Self::TokenType { typ: None } => write!(
                f,
                "token has no \"typ\", which counts as \"{DEFAULT_TOKEN_TYPE}\", and that type is \
                 not accepted"
            ),
            Self::UnknownAlgorithm { alg } => {
                write!(f, "algorithm {alg} is not supported")
            }
            Self::AlgorithmNotAllowed { alg } => {
                write!(f, "algorithm \"{alg}\" is not allowed for this issuer")
            }
            Self::KeyAlgorithm {
                alg,
                kid: Some(kid),
            } => write!(f, "key {kid} is not for algorithm \"{alg}\""),
            Self::KeyAlgorithm { alg, kid: None } => {
                write!(f, "no key of this issuer is for algorithm \"{alg}\"")
            }
            Self::UnknownIssuer { issuer } => match issuer {
                Some(issuer) => write!(f, "issuer {issuer} is not known"),
                None => write!(f, "token has no \"iss\", and no issuer accepts that"),
            },
            Self::DisabledIssuer { issuer } => match issuer {
                Some(issuer) => write!(f, "issuer {issuer} is disabled"),
                None => write!(f, "the issuer of tokens without \"iss\" is disabled"),
            },
            Self::NoKeys { issuer } => match issuer {
                Some(issuer) => write!(f, "issuer {issuer} has no usable key"),
                None => write!(f, "the issuer of tokens without \"iss\" has no usable key"),
            },
            Self::UnknownKey { kid } => write!(f, "issuer has no key with \"kid\" {kid}"),
            Self::ExpiredKey { kid, expired } => {
                write!(f, "key {kid} is not used since {expired}")
            }
            Self::AmbiguousKey { alg, kid } => match kid {
                Some(kid) => write!(
                    f,
                    "issuer has several keys {kid} that could be for algorithm \"{alg}\""
                ),
                None => write!(
                    f,
                    "token has no \"kid\", and issuer has several keys for algorithm \"{alg}\""
                ),
            },
            Self::MissingKeyId => write!(
                f,
                "token has no \"kid\", and issuer has more than {MAX_KEYS_TRIED} keys"
            ),
            Self::Signature { alg, kid } => match kid {
                Some(kid) => write!(f, "\"{alg}\" signature does not match key {kid}"),
                None => write!(f, "\"{alg}\" signature does not match the key"),
            },
            Self::KeyIssuer { kid, bound } => match kid {
                Some(kid) => write!(f, "key {kid} is for tokens of issuer {bound} alone"),
                None => write!(f, "the key is for tokens of issuer {bound} alone"),
            },
            // The time of the check is left out: readers know what time it is.
            Self::Expired { exp, .. } => {
                write!(f, "token expired at {} (claim \"exp\")", exp)
            }
            Self::TooOld { iat, max_age, .. } => write!(
                f,
                "token was issued at {} (claim \"iat\"), and may not be older than {}",
                iat,
                Roughly(*max_age)
            ),
            Self::NotYetValid { nbf, .. } => {
                write!(f, "token is not valid before {} (claim \"nbf\")", nbf)
            }
            Self::IssuedInFuture { iat, .. } => write!(
                f,
                "token was issued in the future, at {} (claim \"iat\")",
                iat
            ),
            Self::IssuerType { found } => {
                write!(f, "claim \"iss\" must be a string, but is {found}")
            }
            Self::MissingIssuer => write!(f, "token has no claim \"iss\", which is required"),
            Self::AudienceType { found } => write!(
                f,
                "claim \"aud\" must be a string or an array of strings, but is {found}"
            ),
            Self::MissingAudience => write!(f, "token has no claim \"aud\", which is required"),
            Self::Audience { audience } => match audience {
                Some(audience) => write!(f, "audience {audience} is not accepted"),
                None => write!(f, "claim \"aud\" is empty, and an audience is required"),
            },
            Self::MissingClaim { claim } => {
                write!(f, "token has no claim {claim}, which is required")
            }
            Self::ClaimType {
                claim,
                expected,
                found,
            } => write!(f, "claim \"{claim}\" must be {expected}, but is {found}"),
            Self::BoundToken => write!(
                f,
                "token is bound to a key of its holder (claim \"cnf\"), and no proof of that key is \
                 checked here"
            ),
            Self::Revoked {
                by,
                issued_before,
                issued_at,
                leeway,
            } => {
                let which = match by {
                    RevokedBy::Issuer => "tokens of this issuer are revoked",
                    RevokedBy::TokenId => "tokens with this \"jti\" are revoked",
                    RevokedBy::Subject => "tokens with this \"sub\" are revoked",
                    RevokedBy::Session => {
                        "tokens of this session (claim \"sid\" or \"session_id\") are revoked"
                    }
                    RevokedBy::Token => "this very token is revoked",
                };
                match (*issued_before, issued_at) {
                    (UnixTime::MAX, _) => write!(f, "{which}"),
                    (before, None) => write!(
                        f,
                        "{which} if they were issued before {before}, and this one has no claim \
                         \"iat\" that says when"
                    ),
                    (before, Some(iat)) => {
                        write!(
                            f,
                            "{which} if they were issued before {before}, and this one was issued \
                             at {iat} (claim \"iat\")"
                        )?;
                        match *leeway {
                            Duration::ZERO => Ok(()),
                            leeway => {
                                write!(f, ", by a clock that may be {} ahead", Roughly(leeway))
                            }
                        }
                    }
                }
            }
            Self::SessionEnded { claim, ended } => match ended {
                Some(ended) => write!(f, "session of the token (claim {claim}) ended at {ended}"),
                None => write!(
                    f,
                    "session of the token (claim {claim}) is not among the issuer's sessions any more"
                ),
            },
            Self::AfterYear9999 { claim, date } => {
                write!(f, "claim \"{claim}\" is {date}, after the year 9999")
            }
        }
    }
}

impl std::error::Error for Error {}
