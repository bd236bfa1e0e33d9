//! The signature check by the crates that admit the keys.
//!
//! Used by the RustCrypto build for what jsonwebtoken does not offer, and by tests and fuzzing to
//! cross-check every asymmetric algorithm.

use ed25519_dalek::ed25519;
use p256::ecdsa::signature::Verifier;
use rsa::{Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::algorithm::Algorithm;
use crate::jwk::{Key, Material, RsaKey};

/// Whether `signature` is the key's over `message`; false for HMAC.
pub(crate) fn is_valid(key: &Key, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    match (key.material(), alg) {
        _ if !key.algorithms().contains(alg) => false,
        (Material::Rsa(key, _), _) => is_valid_rsa(key, alg, message, signature),
        (Material::P256(key, _), Algorithm::Es256) => p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        (Material::P384(key, _), Algorithm::Es384) => p384::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        (Material::P521(key), Algorithm::Es512) => p521::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.checked.verify(message, &signature).is_ok()),
        (Material::Ed25519(key, _), Algorithm::EdDsa) => ed25519::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        // The build on RustCrypto admits no such key.
        #[cfg(all(feature = "aws_lc_rs", feature = "cross_check"))]
        (Material::MlDsa(key), _) => key.second_opinion(message, signature),
        _ => false,
    }
}

fn is_valid_rsa(key: &RsaKey, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let (sha256, sha384, sha512) = (
        || Sha256::digest(message),
        || Sha384::digest(message),
        || Sha512::digest(message),
    );
    let Some(key) = key.prepared() else {
        return false;
    };
    let checked = match alg {
        Algorithm::Rs256 => key.verify(Pkcs1v15Sign::new::<Sha256>(), &sha256(), signature),
        Algorithm::Rs384 => key.verify(Pkcs1v15Sign::new::<Sha384>(), &sha384(), signature),
        Algorithm::Rs512 => key.verify(Pkcs1v15Sign::new::<Sha512>(), &sha512(), signature),
        Algorithm::Ps256 => key.verify(Pss::<Sha256>::new(), &sha256(), signature),
        Algorithm::Ps384 => key.verify(Pss::<Sha384>::new(), &sha384(), signature),
        Algorithm::Ps512 => key.verify(Pss::<Sha512>::new(), &sha512(), signature),
        _ => return false,
    };
    checked.is_ok()
}
