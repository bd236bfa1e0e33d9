//! RSA public keys (RFC 7518 §6.3.1).

use std::ops::RangeInclusive;

use ::rsa::{BoxedUint, PublicKey};
use jsonwebtoken::DecodingKey;

use super::{KeyError, Material, ThumbprintMembers, required_bytes};
use crate::base64url;
use crate::json::Object;
use crate::limits::{RSA_MAX_BITS, RSA_MAX_EXPONENT, RSA_MIN_BITS, RSA_MIN_EXPONENT};

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    // The integers should be minimal (RFC 7518 §2, Base64urlUInt), but some libraries put a zero
    // octet in front. It is ignored, because the key is made from the numbers.
    let (n, e) = (required_bytes(jwk, "n")?, required_bytes(jwk, "e")?);
    let (n_bytes, e_bytes) = (without_zeros(&n), without_zeros(&e));

    let bits = bits(n_bytes);
    if bits < RSA_MIN_BITS {
        return Err(KeyError::ModulusTooShort { bits });
    }
    if bits > RSA_MAX_BITS {
        return Err(KeyError::ModulusTooLong { bits });
    }
    if is_even(n_bytes) {
        return Err(KeyError::ModulusEven);
    }
    let in_range = exponent(e_bytes).is_some_and(|e| RSA_EXPONENTS.contains(&e));
    if !in_range || is_even(e_bytes) {
        return Err(KeyError::Exponent);
    }
    // Repeats the checks above; its errors would be less clear.
    let number = BoxedUint::from_be_slice_vartime;
    let sizes = RSA_MIN_BITS..=RSA_MAX_BITS;
    let key = PublicKey::new_with_size_limits(number(n_bytes), number(e_bytes), sizes)
        .map_err(|_| KeyError::Exponent)?;

    let members = vec![
        ("e", base64url::encode(e_bytes)),
        ("kty", "RSA".to_owned()),
        ("n", base64url::encode(n_bytes)),
    ];
    let decoding = DecodingKey::from_rsa_raw_components(n_bytes, e_bytes);
    Ok((Material::Rsa(key, decoding), members))
}

const RSA_EXPONENTS: RangeInclusive<u64> = RSA_MIN_EXPONENT..=RSA_MAX_EXPONENT;

/// The number without the zero octets in front.
fn without_zeros(big_endian: &[u8]) -> &[u8] {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    big_endian.get(zeros..).unwrap_or_default()
}

/// The number of bits of a number without zero octets in front.
fn bits(big_endian: &[u8]) -> usize {
    let unused = big_endian.first().map_or(0, |byte| byte.leading_zeros());
    big_endian
        .len()
        .saturating_mul(8)
        .saturating_sub(unused as usize)
}

/// The number, if it has at most 64 bits.
fn exponent(big_endian: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    let start = bytes.len().checked_sub(big_endian.len())?;
    bytes.get_mut(start..)?.copy_from_slice(big_endian);
    Some(u64::from_be_bytes(bytes))
}

fn is_even(big_endian: &[u8]) -> bool {
    big_endian.last().is_none_or(|byte| byte % 2 == 0)
}
