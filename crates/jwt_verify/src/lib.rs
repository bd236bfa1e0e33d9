//! Verifies JSON Web Tokens (RFC 7519) against a set of admitted keys.
//!
//! The crate has no clock, does no I/O and holds no state: the token, the
//! [`Keyring`] and the time are arguments, and the answer is either
//! [`Verified`] or the one [`Error`] that says which rule refused the token.
//! A [`SignatureMemory`], if the caller has one, saves time and changes no answer.
//!
//! ```
//! use jwt_verify::{Keyring, Policy, UnixTime, verify};
//!
//! let mut keyring = Keyring::new();
//! keyring.add_issuer("https://auth.example.com", Policy::default());
//! let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"a",
//!               "x":"bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI"}"#;
//! keyring.add_key("https://auth.example.com", Some("a"), None, jwk, None);
//!
//! let refused = verify("not a token", &keyring, UnixTime::from_seconds(1_700_000_000));
//! assert_eq!(refused.unwrap_err().to_string(), "token has 1 part, not 3");
//! ```
//!
//! Two things are checked at different times. A *key* is checked once, when it
//! is read ([`Key::from_jwk`]): after that no value of the type can hold a key
//! that is off its curve, too short or private. A *token* is checked by
//! [`verify`], in the order in which its errors are documented: form, header,
//! issuer, key, signature, claims.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

#[cfg(not(any(feature = "aws_lc_rs", feature = "rust_crypto")))]
compile_error!("jwt_verify needs one of the features `aws_lc_rs` and `rust_crypto`");

pub use advice::{Terms, advice};
pub use algorithm::{Algorithm, AlgorithmSet, UnknownAlgorithm};
pub use error::{Error, ErrorKind, Part};
pub use inspect::{Step, inspect, inspect_with};
pub use json::{JsonError, JsonFault};
pub use jwk::{Key, KeyError};
pub use jwks::{JwksEntry, JwksError, read_jwks};
pub use key_type::KeyType;
pub use keyring::Keyring;
pub use numeric_date::NumericDate;
pub use policy::{BoundTokens, Policy};
pub use revocation::{Revocable, digest};
pub use revoked_by::RevokedBy;
pub use shared_types::{Excerpt, UnixTime};
pub use signature::memory::{Bucket, SECRET_BYTES, SignatureMemory};
pub use unverified_claims::{UnverifiedClaims, unverified_claims, unverified_payload};
pub use verify::{Verified, lacks_only_key, verify, verify_with};
pub use wanted::Wanted;

pub mod limits;

mod advice;
mod algorithm;
mod base64url;
mod claims;
#[cfg(any(test, feature = "cross_check"))]
#[doc(hidden)]
pub mod cross_check;
mod error;
mod header;
mod inspect;
mod json;
mod jwk;
mod jwks;
mod key_type;
mod keyring;
mod numeric_date;
mod policy;
mod revocation;
mod revoked_by;
mod signature;
mod time;
mod token;
mod unverified_claims;
mod verify;
mod wanted;
