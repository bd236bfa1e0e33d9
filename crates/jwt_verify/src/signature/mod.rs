//! The signature check (RFC 7515 §5.2), by jsonwebtoken's crypto provider.
//!
//! jsonwebtoken gets a key of the right type, an algorithm that the key takes and a signature of
//! the right length, and answers yes or no. This module checks what jsonwebtoken cannot: ES512 and
//! ML-DSA.

pub(crate) mod memory;
#[cfg(any(test, feature = "cross_check", not(feature = "aws_lc_rs")))]
pub(crate) mod rust_crypto;

use std::sync::Once;

use jsonwebtoken::crypto;

use crate::algorithm::{Algorithm, Check};
use crate::base64url;
use crate::jwk::Key;
#[cfg(feature = "aws_lc_rs")]
use crate::jwk::Material;
use crate::limits::RSA_MAX_BITS;
use memory::SignatureMemory;

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
    /// Number of signatures that this thread has checked.
    pub(crate) static CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A good signature.
pub(crate) struct Good {
    /// Whether it was found in the memory, and not checked now.
    pub(crate) was_known: bool,
}

/// `Some` if `signature` is the key's over `message`. `None` also if the key does not take `alg`,
/// whatever the memory has.
pub(crate) fn check(
    key: &Key,
    alg: Algorithm,
    message: &[u8],
    signature: Signature<'_>,
    memory: Option<&SignatureMemory<'_>>,
) -> Option<Good> {
    // The length is part of each algorithm: a shortened or extended signature is wrong.
    let is_of_length = key.material().signature_length(alg) == Some(signature.bytes);
    if !key.algorithms().contains(alg) || !is_of_length {
        return None;
    }
    let remembered =
        memory.and_then(|memory| Some((memory, memory.fingerprint(key, alg, message, signature)?)));
    if let Some((memory, fingerprint)) = remembered
        && memory.knows(fingerprint)
    {
        return Some(Good { was_known: true });
    }
    if !is_valid(key, alg, message, signature) {
        return None;
    }
    if let Some((memory, fingerprint)) = remembered {
        memory.note(fingerprint);
    }
    Some(Good { was_known: false })
}

/// Whether the provider finds a signature of the right length good, with a key that takes `alg`.
fn is_valid(key: &Key, alg: Algorithm, message: &[u8], signature: Signature<'_>) -> bool {
    #[cfg(any(test, feature = "cross_check"))]
    CHECKS.with(|checks| checks.set(checks.get().saturating_add(1)));
    match (alg.row().check, key.material().decoding_key()) {
        (Check::Provider(jwa), Some(decoding_key)) => {
            install_provider();
            crypto::verify(signature.encoded, message, decoding_key, jwa).unwrap_or(false)
        }
        // No key is without one that takes an algorithm of the provider.
        (Check::Provider(_), None) => false,
        (Check::Beside, _) => check_beside(key, alg, message, signature),
    }
}

// On RustCrypto jsonwebtoken makes RSA keys that are no longer than this.
const _: () = assert!(RSA_MAX_BITS <= rsa::PublicKey::MAX_SIZE);

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
        (Material::MlDsa(key), Ok(signature)) => key.parsed.verify_sig(message, &signature).is_ok(),
        _ => false,
    }
}

/// The checks that jsonwebtoken does not offer.
#[cfg(not(feature = "aws_lc_rs"))]
fn check_beside(key: &Key, alg: Algorithm, message: &[u8], signature: Signature<'_>) -> bool {
    base64url::decode(signature.encoded)
        .is_ok_and(|signature| rust_crypto::is_valid(key, alg, message, &signature))
}
