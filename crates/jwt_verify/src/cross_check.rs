//! For tests and fuzzing only: questions that production code does not ask.
//!
//! [`verdicts`] asks the stack that [`verify`](crate::verify) uses and the one that admits keys.
//! They must agree on every input. The RFCs' test vectors are signed with keys whose private half
//! the RFCs publish: [`admit_even_published`] and [`add_key_even_published`] accept them. [`words`]
//! gives a memory of signatures any content.

use std::sync::atomic::AtomicU64;

use sha2::digest::Output;
use sha2::digest::block_api::BlockSizeUser;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::base64url;
use crate::jwk::{Key, KeyError, Material, parse_jwk};
use crate::keyring::Keyring;
use crate::signature::memory::Bucket;
use crate::signature::{self, Signature, rust_crypto};

/// As [`Key::from_jwk`], without the rule on keys whose private half is published.
///
/// # Errors
///
/// As [`Key::from_jwk`].
pub fn admit_even_published(jwk: &str, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    Key::admit_even_published(&parse_jwk(jwk)?, None, algorithms)
}

/// As [`Keyring::add_key`], for a key of [`admit_even_published`].
pub fn add_key_even_published(keyring: &mut Keyring, issuer: &str, key: Key) -> bool {
    keyring.add_admitted_key(issuer, key)
}

/// The words of a bucket of a memory of signatures, as they lie there.
pub fn words(bucket: &Bucket) -> impl Iterator<Item = &AtomicU64> {
    bucket.words()
}

/// Number of signatures that this thread has checked: the expensive part of a verification.
pub fn signature_checks() -> usize {
    signature::CHECKS.with(std::cell::Cell::get)
}

/// The answers of the stack in use and of the other stack about a signature (in bytes).
pub fn verdicts(key: &Key, alg: Algorithm, message: &[u8], signature: &[u8]) -> (bool, bool) {
    let encoded = base64url::encode(signature);
    let encoded = Signature {
        encoded: &encoded,
        bytes: signature.len(),
    };
    let first = signature::check(key, alg, message, encoded, None).is_some();
    let second = match key.material() {
        Material::Secret { key: secret, .. } => {
            let secret = secret.try_get_as_bytes().unwrap_or_default();
            key.algorithms().contains(alg) && is_mac(secret, alg, message, signature)
        }
        _ => rust_crypto::is_valid(key, alg, message, signature),
    };
    (first, second)
}

fn is_mac(secret: &[u8], alg: Algorithm, message: &[u8], mac: &[u8]) -> bool {
    match alg {
        Algorithm::Hs256 => hmac::<Sha256>(secret, message)[..] == *mac,
        Algorithm::Hs384 => hmac::<Sha384>(secret, message)[..] == *mac,
        Algorithm::Hs512 => hmac::<Sha512>(secret, message)[..] == *mac,
        _ => false,
    }
}

/// RFC 2104, implemented here and not taken from either stack.
fn hmac<H: Digest + BlockSizeUser>(secret: &[u8], message: &[u8]) -> Output<H> {
    let block = H::block_size();
    let mut key = match secret.len() > block {
        true => H::digest(secret).to_vec(),
        false => secret.to_vec(),
    };
    key.resize(block, 0);
    let pad = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
    let inner = H::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    H::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
}
