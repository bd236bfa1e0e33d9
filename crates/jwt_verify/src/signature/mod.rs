//! The signature check (RFC 7515 §5.2), by jsonwebtoken's crypto provider.
//!
//! jsonwebtoken gets a key of the right type, an algorithm that the key takes and a signature of
//! the right length, and answers yes or no. This module checks what jsonwebtoken cannot: ES512, and
//! RSA beyond 4096 bits on RustCrypto.

#[cfg(any(test, feature = "cross_check", not(feature = "aws_lc_rs")))]
pub(crate) mod rust_crypto;

use std::sync::Once;

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};
use rsa::traits::PublicKeyParts;

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::jwk::{Key, Material};

/// A signature as it came, with its length.
#[derive(Clone, Copy)]
pub(crate) struct Signature<'t> {
    /// Base64url that is known to decode.
    pub(crate) encoded: &'t str,
    /// The length of the decoded bytes.
    pub(crate) bytes: usize,
}

#[cfg(any(test, feature = "cross_check"))]
thread_local! {
    /// How many signatures this thread has checked.
    pub(crate) static CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether `signature` is the key's over `message`. Also false where the key does not take `alg`.
pub(crate) fn is_valid(
    key: &Key,
    alg: Algorithm,
    message: &[u8],
    signature: Signature<'_>,
) -> bool {
    // The length is part of each algorithm: a shortened or extended signature is wrong.
    if !key.takes().contains(alg) || expected_length(key, alg) != signature.bytes {
        return false;
    }
    #[cfg(any(test, feature = "cross_check"))]
    CHECKS.with(|checks| checks.set(checks.get().saturating_add(1)));
    install_provider();
    let check = |key: &DecodingKey, alg: Jwa| {
        crypto::verify(signature.encoded, message, key, alg).unwrap_or(false)
    };
    match (key.material(), alg) {
        #[cfg(not(feature = "aws_lc_rs"))]
        (Material::Rsa(checked, _), _) if checked.n().bits() > rsa::RsaPublicKey::MAX_SIZE => {
            check_beside(key, alg, message, signature)
        }
        (Material::P521(..), Algorithm::Es512) => check_beside(key, alg, message, signature),
        (Material::Rsa(_, key), Algorithm::Rs256) => check(key, Jwa::RS256),
        (Material::Rsa(_, key), Algorithm::Rs384) => check(key, Jwa::RS384),
        (Material::Rsa(_, key), Algorithm::Rs512) => check(key, Jwa::RS512),
        (Material::Rsa(_, key), Algorithm::Ps256) => check(key, Jwa::PS256),
        (Material::Rsa(_, key), Algorithm::Ps384) => check(key, Jwa::PS384),
        (Material::Rsa(_, key), Algorithm::Ps512) => check(key, Jwa::PS512),
        (Material::P256(_, key), Algorithm::Es256) => check(key, Jwa::ES256),
        (Material::P384(_, key), Algorithm::Es384) => check(key, Jwa::ES384),
        (Material::Ed25519(_, key), Algorithm::EdDsa) => check(key, Jwa::EdDSA),
        (Material::Secret { key, .. }, Algorithm::Hs256) => check(key, Jwa::HS256),
        (Material::Secret { key, .. }, Algorithm::Hs384) => check(key, Jwa::HS384),
        (Material::Secret { key, .. }, Algorithm::Hs512) => check(key, Jwa::HS512),
        _ => false,
    }
}

/// How long the key's signatures are, in bytes: RFC 7518 §3.2 to §3.5,
/// RFC 8032 §5.1.6.
pub(crate) fn expected_length(key: &Key, alg: Algorithm) -> usize {
    match (key.material(), alg) {
        (Material::Rsa(key, _), _) => key.size(),
        (_, Algorithm::Hs256) => 32,
        (_, Algorithm::Hs384) => 48,
        (_, Algorithm::Es384) => 96,
        (_, Algorithm::Es512) => 132,
        _ => 64,
    }
}

/// Tells jsonwebtoken which provider to use. Without this it panics if another crate of the same
/// build has enabled the second one.
fn install_provider() {
    #[cfg(feature = "aws_lc_rs")]
    use crypto::aws_lc::DEFAULT_PROVIDER;
    #[cfg(not(feature = "aws_lc_rs"))]
    use crypto::rust_crypto::DEFAULT_PROVIDER;

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already, which is fine.
        let _ = DEFAULT_PROVIDER.install_default();
    });
}

/// The checks that jsonwebtoken does not offer.
#[cfg(feature = "aws_lc_rs")]
fn check_beside(key: &Key, _: Algorithm, message: &[u8], signature: Signature<'_>) -> bool {
    match (key.material(), base64url::decode(signature.encoded)) {
        (Material::P521(key), Ok(signature)) => key.parsed.verify_sig(message, &signature).is_ok(),
        _ => false,
    }
}

/// The checks that jsonwebtoken does not offer.
#[cfg(not(feature = "aws_lc_rs"))]
fn check_beside(key: &Key, alg: Algorithm, message: &[u8], signature: Signature<'_>) -> bool {
    base64url::decode(signature.encoded)
        .is_ok_and(|signature| rust_crypto::is_valid(key, alg, message, &signature))
}
