//! RSA public keys (RFC 7518 §6.3.1).

use ::rsa::traits::PublicKeyParts;
use ::rsa::{BigUint, RsaPublicKey};
use jsonwebtoken::DecodingKey;

use super::{KeyError, Material, ThumbprintMembers, required_bytes};
use crate::base64url;
use crate::json::Object;
use crate::limits::{RSA_MAX_BITS, RSA_MAX_EXPONENT, RSA_MIN_BITS, RSA_MIN_EXPONENT};

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    // The integers should be minimal (RFC 7518 §2, Base64urlUInt), but some libraries put a zero
    // octet in front. It is ignored, because the key is made from the numbers.
    let n = BigUint::from_bytes_be(&required_bytes(jwk, "n")?);
    let e = BigUint::from_bytes_be(&required_bytes(jwk, "e")?);

    let bits = n.bits();
    if bits < RSA_MIN_BITS {
        return Err(KeyError::ModulusTooShort { bits });
    }
    if bits > RSA_MAX_BITS {
        return Err(KeyError::ModulusTooLong { bits });
    }
    let n_bytes = n.to_bytes_be();
    let e_bytes = e.to_bytes_be();
    if is_even(&n_bytes) {
        return Err(KeyError::ModulusEven);
    }
    let in_range = e >= RSA_MIN_EXPONENT.into() && e <= RSA_MAX_EXPONENT.into();
    if !in_range || is_even(&e_bytes) {
        return Err(KeyError::Exponent);
    }
    // Repeats the checks above; its errors would be less clear.
    let key =
        RsaPublicKey::new_with_max_size(n, e, RSA_MAX_BITS).map_err(|_| KeyError::Exponent)?;
    debug_assert_eq!(key.n().bits(), bits);

    let members = vec![
        ("e", base64url::encode(&e_bytes)),
        ("kty", "RSA".to_owned()),
        ("n", base64url::encode(&n_bytes)),
    ];
    let decoding = DecodingKey::from_rsa_raw_components(&n_bytes, &e_bytes);
    Ok((Material::Rsa(key, decoding), members))
}

fn is_even(big_endian: &[u8]) -> bool {
    big_endian.last().is_none_or(|byte| byte % 2 == 0)
}
