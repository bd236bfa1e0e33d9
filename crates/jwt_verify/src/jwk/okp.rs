//! Ed25519 public keys (RFC 8037 §2).

use ed25519_dalek::VerifyingKey;
use jsonwebtoken::DecodingKey;
use shared_types::Excerpt;

use super::{KeyError, Material, ThumbprintMembers, required_bytes, required_string};
use crate::base64url;
use crate::json::Object;

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    match required_string(jwk, "crv")? {
        "Ed25519" => {}
        other => return Err(KeyError::UnsupportedCurve(Excerpt::new(other))),
    }
    let x = required_bytes(jwk, "x")?;
    let x = <&[u8; 32]>::try_from(x.as_slice()).map_err(|_| KeyError::Length {
        member: "x",
        bytes: x.len(),
        expected: 32,
    })?;
    let key = VerifyingKey::from_bytes(x).map_err(|_| KeyError::NotOnCurve { curve: "Ed25519" })?;
    // ed25519-dalek reduces coordinates beyond the field's prime and accepts a sign bit on x = 0;
    // RFC 8032 §5.1.3 forbids both.
    if key.to_edwards().compress().as_bytes() != x {
        return Err(KeyError::NotCanonical);
    }
    if key.is_weak() {
        return Err(KeyError::SmallOrder);
    }
    let members = vec![
        ("crv", "Ed25519".to_owned()),
        ("kty", "OKP".to_owned()),
        ("x", base64url::encode(x)),
    ];
    // Despite its name, `from_ed_der` accepts the 32 bytes.
    let decoding = DecodingKey::from_ed_der(key.as_bytes());
    Ok((Material::Ed25519(key, decoding), members))
}
