//! RSA public keys (RFC 7518 §6.3.1).

use std::ops::RangeInclusive;

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
    let members = vec![
        ("e", base64url::encode(e_bytes)),
        ("kty", "RSA".to_owned()),
        ("n", base64url::encode(n_bytes)),
    ];
    let key = RsaKey {
        n: n_bytes.into(),
        e: e_bytes.into(),
    };
    let decoding = DecodingKey::from_rsa_raw_components(&key.n, &key.e);
    Ok((Material::Rsa(key, decoding), members))
}

/// A key that passed all rules of [`admit`], which are those of the crate `rsa` and more. That crate's
/// own key is not made here: it prepares for the arithmetic of a check, which takes a third of the
/// time of a check.
#[derive(Clone)]
pub(crate) struct RsaKey {
    /// Big-endian, without zero octets in front.
    n: Box<[u8]>,
    e: Box<[u8]>,
}

impl RsaKey {
    /// Length of the modulus, and of signatures, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.n.len()
    }

    /// The key of the crate `rsa`.
    #[cfg(any(test, feature = "cross_check", not(feature = "aws_lc_rs")))]
    pub(crate) fn prepared(&self) -> Option<::rsa::PublicKey> {
        let number = ::rsa::BoxedUint::from_be_slice_vartime;
        ::rsa::PublicKey::new(number(&self.n), number(&self.e)).ok()
    }
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

#[cfg(test)]
mod tests {
    use ::rsa::traits::PublicKeyParts;

    use super::*;
    use crate::jwk::parse_jwk;

    #[test]
    fn admitted_keys_are_keys_of_the_crate_rsa() {
        for bits in [RSA_MIN_BITS, 2_049, 3_072, 4_097, RSA_MAX_BITS] {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] = 0xff >> (n.len() * 8 - bits);
            for e in [RSA_MIN_EXPONENT, 65_537, RSA_MAX_EXPONENT] {
                let (n, e) = (base64url::encode(&n), base64url::encode(&e.to_be_bytes()));
                let jwk = format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#);
                let Ok((Material::Rsa(key, _), _)) = admit(&parse_jwk(&jwk).unwrap()) else {
                    panic!("{bits} bits are admitted");
                };
                let prepared = key.prepared().unwrap();
                assert_eq!(prepared.size(), key.size(), "{bits} bits");
            }
        }
    }
}
