//! Public keys of ML-DSA, as keys of the type "Algorithm Key Pair" (RFC 9964 §3 and §5).

use shared_types::Excerpt;

use super::{KeyError, Material, ThumbprintMembers, required_bytes, required_string};
use crate::algorithm::Algorithm;
use crate::base64url;
use crate::json::Object;
use crate::key_type::KeyKind;

/// Length of the seed of the public matrix, with which a public key begins (FIPS 204, algorithm 22).
const MATRIX_SEED_BYTES: usize = 32;

pub(super) fn admit(jwk: &Object<'_>) -> Result<(Material, ThumbprintMembers), KeyError> {
    // Required, and a part of the key: the same bytes under another name are another key.
    let name = required_string(jwk, "alg")?;
    let Some(alg) = Algorithm::from_name(name) else {
        return Err(KeyError::UnknownAlgorithm(Excerpt::new(name)));
    };
    let kind = alg.row().key;
    let Some(expected) = length(kind) else {
        return Err(KeyError::AlgorithmMismatch { alg, key: "AKP" });
    };
    // Any bytes of this length are a key (FIPS 204, algorithm 23).
    let public = required_bytes(jwk, "pub")?;
    if public.len() != expected {
        return Err(KeyError::Length {
            member: "pub",
            bytes: public.len(),
            expected,
        });
    }
    // The public value t is zero, the seed of the matrix before it is not. What a signature has to
    // show about the private key is then a fact about zero.
    if public.iter().skip(MATRIX_SEED_BYTES).all(|byte| *byte == 0) {
        return Err(KeyError::ZeroKey);
    }
    let key = MlDsaKey::new(kind, &public).ok_or(KeyError::NotInThisBuild { alg })?;
    let members = vec![
        ("alg", name.to_owned()),
        ("kty", "AKP".to_owned()),
        ("pub", base64url::encode(&public)),
    ];
    Ok((Material::MlDsa(key), members))
}

/// Length of a public key, in bytes (FIPS 204, table 2); `None` if the kind is none of ML-DSA.
fn length(kind: KeyKind) -> Option<usize> {
    match kind {
        KeyKind::MlDsa44 => Some(1_312),
        KeyKind::MlDsa65 => Some(1_952),
        KeyKind::MlDsa87 => Some(2_592),
        KeyKind::Rsa
        | KeyKind::P256
        | KeyKind::P384
        | KeyKind::P521
        | KeyKind::Ed25519
        | KeyKind::Secret => None,
    }
}

/// A key of ML-DSA, in the form that checks signatures.
#[derive(Clone)]
pub(crate) struct MlDsaKey {
    pub(crate) kind: KeyKind,
    #[cfg(feature = "aws_lc_rs")]
    pub(crate) parsed: aws_lc_rs::signature::ParsedPublicKey,
}

impl MlDsaKey {
    /// `None` if the stack cannot take it. `public` must be of the kind's length.
    #[cfg(feature = "aws_lc_rs")]
    fn new(kind: KeyKind, public: &[u8]) -> Option<Self> {
        use aws_lc_rs::signature::{ML_DSA_44, ML_DSA_65, ML_DSA_87, ParsedPublicKey};

        let parsed = match kind {
            KeyKind::MlDsa44 => ParsedPublicKey::new(&ML_DSA_44, public),
            KeyKind::MlDsa65 => ParsedPublicKey::new(&ML_DSA_65, public),
            KeyKind::MlDsa87 => ParsedPublicKey::new(&ML_DSA_87, public),
            KeyKind::Rsa
            | KeyKind::P256
            | KeyKind::P384
            | KeyKind::P521
            | KeyKind::Ed25519
            | KeyKind::Secret => return None,
        };
        let parsed = parsed.ok()?;
        Some(Self { kind, parsed })
    }

    /// RustCrypto's implementation has not been audited, so the build on it has none.
    #[cfg(not(feature = "aws_lc_rs"))]
    fn new(_: KeyKind, _: &[u8]) -> Option<Self> {
        None
    }

    /// The verdict of the crate `ml-dsa`.
    #[cfg(all(feature = "aws_lc_rs", feature = "cross_check"))]
    pub(crate) fn second_opinion(&self, message: &[u8], signature: &[u8]) -> bool {
        use ml_dsa::{MlDsa44, MlDsa65, MlDsa87};

        let public = self.parsed.as_ref();
        match self.kind {
            KeyKind::MlDsa44 => verify::<MlDsa44>(public, message, signature),
            KeyKind::MlDsa65 => verify::<MlDsa65>(public, message, signature),
            KeyKind::MlDsa87 => verify::<MlDsa87>(public, message, signature),
            _ => false,
        }
    }
}

#[cfg(all(feature = "aws_lc_rs", feature = "cross_check"))]
fn verify<P: ml_dsa::MlDsaParams>(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(public) = ml_dsa::EncodedVerifyingKey::<P>::try_from(public) else {
        return false;
    };
    let key = ml_dsa::VerifyingKey::<P>::decode(&public);
    ml_dsa::Signature::<P>::try_from(signature)
        .is_ok_and(|signature| key.verify_with_context(message, &[], &signature))
}
