//! Elliptic curve public keys (RFC 7518 §6.2.1).

use jsonwebtoken::DecodingKey;
use shared_types::Excerpt;

use super::{KeyError, Material, ThumbprintMembers, required_bytes, required_string};
use crate::base64url;
use crate::json::Object;

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    match required_string(jwk, "crv")? {
        "P-256" => {
            let (point, members) = point(jwk, "P-256", 32)?;
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map_err(|_| KeyError::NotOnCurve { curve: "P-256" })?;
            let checked = key.to_sec1_point(false);
            let decoding = decoding_key(checked.as_bytes());
            Ok((Material::P256(key, decoding), members))
        }
        "P-384" => {
            let (point, members) = point(jwk, "P-384", 48)?;
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map_err(|_| KeyError::NotOnCurve { curve: "P-384" })?;
            let checked = key.to_sec1_point(false);
            let decoding = decoding_key(checked.as_bytes());
            Ok((Material::P384(key, decoding), members))
        }
        "P-521" => {
            let (point, members) = point(jwk, "P-521", 66)?;
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map_err(|_| KeyError::NotOnCurve { curve: "P-521" })?;
            Ok((Material::P521(P521Key::new(key)?), members))
        }
        other => Err(KeyError::UnsupportedCurve(Excerpt::new(other))),
    }
}

/// The uncompressed point (SEC 1 §2.3.3), its coordinates exactly as long as
/// the curve's field (RFC 7518 §6.2.1.2).
fn point(
    jwk: &Object<'_>,
    curve: &'static str,
    length: usize,
) -> Result<(Vec<u8>, ThumbprintMembers), KeyError> {
    let mut point = vec![0x04];
    let mut members = vec![("crv", curve.to_owned()), ("kty", "EC".to_owned())];
    for member in ["x", "y"] {
        let coordinate = required_bytes(jwk, member)?;
        if coordinate.len() != length {
            return Err(KeyError::Length {
                member,
                bytes: coordinate.len(),
                expected: length,
            });
        }
        members.push((member, base64url::encode(&coordinate)));
        point.extend(coordinate);
    }
    Ok((point, members))
}

/// Despite its name, `from_ec_der` accepts the point in the form that both of jsonwebtoken's
/// providers need: `from_ec_components` makes the same bytes.
fn decoding_key(point: &[u8]) -> DecodingKey {
    DecodingKey::from_ec_der(point)
}

/// A P-521 key, with its form for ES512.
#[derive(Clone)]
#[cfg_attr(
    feature = "aws_lc_rs",
    allow(
        dead_code,
        reason = "there the checked key is the proof, and the parsed one does the work"
    )
)]
pub(crate) struct P521Key {
    pub(crate) checked: p521::ecdsa::VerifyingKey,
    #[cfg(feature = "aws_lc_rs")]
    pub(crate) parsed: aws_lc_rs::signature::ParsedPublicKey,
}

impl P521Key {
    fn new(checked: p521::ecdsa::VerifyingKey) -> Result<Self, KeyError> {
        #[cfg(feature = "aws_lc_rs")]
        {
            use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};

            let point = checked.to_sec1_point(false);
            let parsed = ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point.as_bytes())
                .map_err(|_| KeyError::NotOnCurve { curve: "P-521" })?;
            Ok(Self { checked, parsed })
        }
        #[cfg(not(feature = "aws_lc_rs"))]
        Ok(Self { checked })
    }
}
