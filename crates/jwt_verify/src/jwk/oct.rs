//! Shared secrets (RFC 7518 §6.4).

use jsonwebtoken::DecodingKey;

use super::{KeyError, Material, ThumbprintMembers, required_bytes};
use crate::algorithm::{Algorithm, AlgorithmSet, SignatureLength};
use crate::base64url;
use crate::json::Object;
use crate::key_type::KeyKind;

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    let secret = required_bytes(jwk, "k")?;
    let too_short = || KeyError::SecretTooShort {
        bytes: secret.len(),
        alg: Algorithm::Hs256,
    };
    if algorithms(secret.len()).is_empty() {
        return Err(too_short());
    }
    let members = vec![("k", base64url::encode(&secret)), ("kty", "oct".to_owned())];
    let material = Material::Secret {
        bytes: secret.len(),
        // Refuses an empty secret, which is too short.
        key: DecodingKey::from_secret(&secret).map_err(|_| too_short())?,
    };
    Ok((material, members))
}

/// The algorithms for which a secret is long enough: a key must be at least as long as the hash
/// (RFC 7518 §3.2).
pub(super) fn algorithms(bytes: usize) -> AlgorithmSet {
    let is_long_enough = |alg: &Algorithm| match alg.row().signature {
        SignatureLength::Bytes(hash) => hash <= bytes,
        SignatureLength::OfModulus => false,
    };
    AlgorithmSet::of_kind(KeyKind::Secret).filter(is_long_enough)
}
