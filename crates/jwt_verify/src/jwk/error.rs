//! Why a key was not admitted.

use std::fmt;

use shared_types::Excerpt;

use crate::algorithm::{Algorithm, unsupported_advice};
use crate::json::JsonError;
use crate::limits::{
    MAX_JWK_BYTES, RSA_MAX_BITS, RSA_MAX_EXPONENT, RSA_MIN_BITS, RSA_MIN_EXPONENT,
};

/// The rule that a JWK breaks, as one plain phrase. Never shows key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The JWK is longer than [`MAX_JWK_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The JWK is not an acceptable JSON object (RFC 7517 §4).
    Json(JsonError),
    /// The JWK has a member that only private keys have.
    PrivateMember {
        /// The first such member.
        member: &'static str,
    },
    /// A member that the type needs is absent.
    MissingMember {
        /// Its name.
        member: &'static str,
    },
    /// A member is of the wrong type.
    MemberType {
        /// Its name.
        member: &'static str,
        /// The required type.
        expected: &'static str,
    },
    /// A member is not unpadded, canonical base64url (RFC 7515 §2).
    NotBase64url {
        /// Its name.
        member: &'static str,
    },
    /// `use` is not `sig` (RFC 7517 §4.2).
    Use(Excerpt),
    /// `key_ops` does not have `verify` (RFC 7517 §4.3).
    NotForVerifying,
    /// `key_ops` has a value twice (RFC 7517 §4.3).
    RepeatedOperation,
    /// `kty` is not a type of key that checks signatures here (RFC 7517 §4.1).
    UnsupportedType(Excerpt),
    /// `crv` is not a curve that this crate knows (RFC 7518 §6.2.1.1).
    UnsupportedCurve(Excerpt),
    /// A coordinate, an Ed25519 key or a key of ML-DSA is not of the length of its curve or
    /// algorithm (RFC 7518 §6.2.1.2, RFC 8037 §2, RFC 9964 §5).
    Length {
        /// The member's name.
        member: &'static str,
        /// Its length.
        bytes: usize,
        /// The required length.
        expected: usize,
    },
    /// The point is not on its curve (RFC 8725 §3.4).
    NotOnCurve {
        /// The curve's name.
        curve: &'static str,
    },
    /// The Ed25519 key is not in its one canonical encoding (RFC 8032 §5.1.3).
    NotCanonical,
    /// The Ed25519 key is of small order: signatures for it need no secret.
    SmallOrder,
    /// The ML-DSA key is zero: signatures for it need no secret.
    ZeroKey,
    /// The RSA modulus is shorter than [`RSA_MIN_BITS`] (RFC 7518 §3.3).
    ModulusTooShort {
        /// Its length.
        bits: usize,
    },
    /// The RSA modulus is longer than [`RSA_MAX_BITS`].
    ModulusTooLong {
        /// Its length.
        bits: usize,
    },
    /// The RSA modulus is even, so not a product of two odd primes.
    ModulusEven,
    /// The RSA exponent is even, below [`RSA_MIN_EXPONENT`] or above
    /// [`RSA_MAX_EXPONENT`].
    Exponent,
    /// `alg` is not a supported signature algorithm (RFC 7517 §4.4).
    UnknownAlgorithm(Excerpt),
    /// `alg` is not for keys of this type and curve (RFC 8725 §3.1).
    AlgorithmMismatch {
        /// The stated algorithm.
        alg: Algorithm,
        /// The type or curve of the key.
        key: &'static str,
    },
    /// The crypto stack of this build does not have the key's algorithm: ML-DSA on RustCrypto.
    NotInThisBuild {
        /// The key's algorithm.
        alg: Algorithm,
    },
    /// A shared secret, and the issuer names no HMAC algorithm that it takes.
    SymmetricNotAllowed,
    /// A shared secret shorter than its hash (RFC 7518 §3.2).
    SecretTooShort {
        /// Its length.
        bytes: usize,
        /// The algorithm that it is too short for.
        alg: Algorithm,
    },
    /// The private half of the key, or the shared secret, is published.
    Published {
        /// Place of its publication.
        source: &'static str,
    },
    /// Another usable key of the set has the same `kid` and type (RFC 7517 §4.5).
    DuplicateKeyId,
    /// The set has the same key already, under the same name and for another issuer.
    OtherIssuer,
}

impl KeyError {
    /// Whether the JWK holds a private key, which should never be given to a verifier.
    pub fn is_private_key(&self) -> bool {
        matches!(self, Self::PrivateMember { .. })
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "JWK of {bytes} bytes is longer than {MAX_JWK_BYTES} bytes"
                )
            }
            Self::Json(error) => write!(f, "JWK {error}"),
            Self::PrivateMember { member } => {
                write!(f, "JWK has the private member \"{member}\"")
            }
            Self::MissingMember { member } => write!(f, "member \"{member}\" is missing"),
            Self::MemberType { member, expected } => {
                write!(f, "member \"{member}\" is not {expected}")
            }
            Self::NotBase64url { member } => {
                write!(f, "member \"{member}\" is not unpadded base64url")
            }
            Self::Use(other) => write!(f, "\"use\" is {other}, not \"sig\""),
            Self::NotForVerifying => write!(f, "\"key_ops\" does not have \"verify\""),
            Self::RepeatedOperation => write!(f, "\"key_ops\" has a value twice"),
            Self::UnsupportedType(kty) => write!(f, "key type {kty} is not supported"),
            Self::UnsupportedCurve(crv) => write!(f, "curve {crv} is not supported"),
            Self::Length {
                member,
                bytes,
                expected,
            } => write!(f, "member \"{member}\" has {bytes} bytes, not {expected}"),
            Self::NotOnCurve { curve } => write!(f, "point is not on the curve {curve}"),
            Self::NotCanonical => write!(f, "Ed25519 key is not in its canonical encoding"),
            Self::SmallOrder => write!(f, "Ed25519 key is of small order"),
            Self::ZeroKey => write!(f, "ML-DSA key is zero"),
            Self::ModulusTooShort { bits } => write!(
                f,
                "RSA modulus of {bits} bits is shorter than {RSA_MIN_BITS} bits"
            ),
            Self::ModulusTooLong { bits } => write!(
                f,
                "RSA modulus of {bits} bits is longer than {RSA_MAX_BITS} bits"
            ),
            Self::ModulusEven => write!(f, "RSA modulus is even"),
            Self::Exponent => write!(
                f,
                "RSA exponent is not an odd number from {RSA_MIN_EXPONENT} to {RSA_MAX_EXPONENT}"
            ),
            Self::UnknownAlgorithm(alg) => write!(
                f,
                "algorithm {alg} is not supported: {}",
                unsupported_advice(alg.as_str())
            ),
            Self::AlgorithmMismatch { alg, key } => {
                write!(f, "algorithm \"{alg}\" is not for a key of type {key}")
            }
            Self::NotInThisBuild { alg } => write!(
                f,
                "algorithm \"{alg}\" is not in this build, which is without aws-lc-rs"
            ),
            Self::SymmetricNotAllowed => write!(
                f,
                "issuer names no HMAC algorithm that this shared secret takes"
            ),
            Self::SecretTooShort { bytes, alg } => write!(
                f,
                "shared secret of {bytes} bytes is shorter than the hash of \"{alg}\""
            ),
            Self::Published { source } => write!(
                f,
                "anyone can sign with this key: its private half is published ({source})"
            ),
            Self::DuplicateKeyId => {
                write!(f, "another key of the set has the same \"kid\" and \"kty\"")
            }
            Self::OtherIssuer => write!(
                f,
                "the set has the same key with the same \"kid\" and another \"issuer\""
            ),
        }
    }
}

impl std::error::Error for KeyError {}
