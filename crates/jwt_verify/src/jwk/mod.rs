//! JSON Web Keys (RFC 7517), read into keys that cannot be bad.

mod akp;
mod binding;
mod ec;
mod error;
mod oct;
mod okp;
mod published;
mod rsa;

use std::fmt;

use jsonwebtoken::DecodingKey;

use crate::algorithm::{Algorithm, AlgorithmSet, SignatureLength};
use crate::base64url;
use crate::json::{Object, Value};
use crate::key_type::{KeyKind, KeyType};
use crate::limits::MAX_JWK_BYTES;

pub(crate) use binding::Binding;
pub use error::KeyError;
#[cfg(any(test, feature = "cross_check", not(feature = "aws_lc_rs")))]
pub(crate) use rsa::RsaKey;
use shared_types::Excerpt;

/// An admitted key: on its curve, strong enough, not private, and parsed once into the form that
/// the signature check needs.
///
/// `Debug` shows the names on the key, never the key.
#[derive(Clone)]
pub struct Key {
    material: Material,
    algorithms: AlgorithmSet,
    kid: Option<Box<str>>,
    alg: Option<Box<str>>,
    binding: Option<Binding>,
    thumbprint: Box<str>,
}

/// The key itself. Each type can only hold a key that its rules accept; the
/// [`DecodingKey`] beside it is made from that, not from the JWK.
#[derive(Clone)]
#[cfg_attr(
    feature = "aws_lc_rs",
    allow(
        dead_code,
        reason = "there the checked key is the proof, and the DecodingKey does the work"
    )
)]
pub(crate) enum Material {
    Rsa(rsa::RsaKey, DecodingKey),
    P256(p256::ecdsa::VerifyingKey, DecodingKey),
    P384(p384::ecdsa::VerifyingKey, DecodingKey),
    // jsonwebtoken does not know ES512.
    P521(ec::P521Key),
    Ed25519(ed25519_dalek::VerifyingKey, DecodingKey),
    // Nor does it know ML-DSA.
    MlDsa(akp::MlDsaKey),
    Secret { bytes: usize, key: DecodingKey },
}

impl Key {
    /// Reads one JWK and admits it, or returns the reason why not.
    ///
    /// `algorithms` are those of the key's issuer: an `oct` key is admitted only if they have an
    /// HMAC algorithm that the key takes. An asymmetric key is admitted whether or not they have
    /// one for it.
    ///
    /// # Errors
    ///
    /// The first rule that the JWK breaks: at most [`MAX_JWK_BYTES`] of JSON
    /// without duplicate members (RFC 7517 §4); no private members; members of
    /// the type strictly decoded (RFC 7518 §6, RFC 8037 §2, RFC 9964 §3); RSA of 2048 to
    /// 8192 bits, odd exponent from 3 to 2^32 - 1; the point on its curve;
    /// Ed25519 canonical and not of small order; a key of ML-DSA with its `alg`, and of its length;
    /// `use`, `key_ops` and `alg`
    /// fit for verifying signatures (RFC 7517 §4.2 to §4.4); `issuer`, which Microsoft Entra ID adds
    /// to say whose tokens the key may sign, a string; not a key whose
    /// private half is published, such as an RFC's example.
    pub fn from_jwk(jwk: &str, algorithms: AlgorithmSet) -> Result<Self, KeyError> {
        Self::admit(&parse_jwk(jwk)?, None, algorithms)
    }

    /// Like [`Key::from_jwk`], with an `alg` that wins over the JWK's own: for a
    /// key whose owner pins the algorithm.
    ///
    /// # Errors
    ///
    /// As [`Key::from_jwk`]; also if the key does not take `alg`.
    pub fn from_jwk_with_alg(
        jwk: &str,
        alg: &str,
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        Self::admit(&parse_jwk(jwk)?, Some(alg), algorithms)
    }

    pub(crate) fn admit(
        jwk: &Object<'_>,
        alg: Option<&str>,
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        let key = Self::admit_even_published(jwk, alg, algorithms)?;
        match published::source(key.thumbprint()) {
            Some(source) => Err(KeyError::Published { source }),
            None => Ok(key),
        }
    }

    /// Every rule but the last. Only [`Key::admit`] and tests may call it.
    pub(crate) fn admit_even_published(
        jwk: &Object<'_>,
        alg: Option<&str>,
        algorithms: AlgorithmSet,
    ) -> Result<Self, KeyError> {
        // First of all, so that a private key is never called something else.
        let kty = jwk.get("kty");
        refuse_private_members(jwk, kty.and_then(Value::as_str))?;
        let kid = optional_string(jwk, "kid")?;
        refuse_other_uses(jwk)?;
        let binding = Binding::read(jwk)?;

        let (material, members) = match required_string(jwk, "kty")? {
            "RSA" => rsa::admit(jwk)?,
            "EC" => ec::admit(jwk)?,
            "OKP" => okp::admit(jwk)?,
            "AKP" => akp::admit(jwk)?,
            "oct" => oct::admit(jwk)?,
            other => return Err(KeyError::UnsupportedType(Excerpt::new(other))),
        };
        let stated = match alg {
            Some(alg) => Some(alg),
            None => optional_string(jwk, "alg")?,
        };
        let takes = material.algorithms(stated)?;
        if material.kind() == KeyKind::Secret && takes.intersection(algorithms).is_empty() {
            return Err(KeyError::SymmetricNotAllowed);
        }
        Ok(Self {
            material,
            algorithms: takes,
            kid: kid.map(Box::from),
            alg: stated.map(Box::from),
            binding,
            thumbprint: thumbprint(&members),
        })
    }

    /// The key's type.
    pub fn key_type(&self) -> KeyType {
        self.material.kind().key_type()
    }

    /// The key id that the JWK states (RFC 7517 §4.5).
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithm that the JWK states, as it spells it (RFC 7517 §4.4).
    pub fn alg(&self) -> Option<&str> {
        self.alg.as_deref()
    }

    /// The JWK Thumbprint (RFC 7638) with SHA-256, in base64url.
    ///
    /// RSA integers go into it without leading zero octets, however the JWK
    /// wrote them, so that one key has one thumbprint.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether both are one key, under whatever names and for whatever algorithms, which may sign the
    /// tokens of the same issuers.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint && self.binding == other.binding
    }

    /// The algorithms that the key may be used with: the stated one, else
    /// those of its type, curve and length.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// The only issuer whose tokens the key may sign, if the JWK states one.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kty", &self.key_type().name())
            .field("kid", &self.kid().map(Excerpt::new))
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

impl Material {
    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa(..) => KeyKind::Rsa,
            Self::P256(..) => KeyKind::P256,
            Self::P384(..) => KeyKind::P384,
            Self::P521(..) => KeyKind::P521,
            Self::Ed25519(..) => KeyKind::Ed25519,
            Self::MlDsa(key) => key.kind,
            Self::Secret { .. } => KeyKind::Secret,
        }
    }

    /// Length of signatures with this key, in bytes; `None` if the key does not take the algorithm.
    pub(crate) fn signature_length(&self, alg: Algorithm) -> Option<usize> {
        let row = alg.row();
        match (row.signature, self) {
            _ if row.key != self.kind() => None,
            (SignatureLength::Bytes(bytes), _) => Some(bytes),
            (SignatureLength::OfModulus, Self::Rsa(key, _)) => Some(key.size()),
            (
                SignatureLength::OfModulus,
                Self::P256(..)
                | Self::P384(..)
                | Self::P521(..)
                | Self::Ed25519(..)
                | Self::MlDsa(_)
                | Self::Secret { .. },
            ) => None,
        }
    }

    /// The key in jsonwebtoken's form; `None` if jsonwebtoken does not know its algorithm.
    pub(crate) fn decoding_key(&self) -> Option<&DecodingKey> {
        match self {
            Self::Rsa(_, key) | Self::P256(_, key) | Self::P384(_, key) => Some(key),
            Self::Ed25519(_, key) | Self::Secret { key, .. } => Some(key),
            Self::P521(..) | Self::MlDsa(_) => None,
        }
    }

    /// Algorithms of a key that states `alg`, or none.
    fn algorithms(&self, alg: Option<&str>) -> Result<AlgorithmSet, KeyError> {
        let by_type = match self {
            // A secret must be at least as long as the hash (RFC 7518 §3.2).
            Self::Secret { bytes, .. } => oct::algorithms(*bytes),
            _ => AlgorithmSet::of_kind(self.kind()),
        };
        let Some(name) = alg else {
            return Ok(by_type);
        };
        let Some(alg) = Algorithm::from_name(name) else {
            return Err(KeyError::UnknownAlgorithm(Excerpt::new(name)));
        };
        match self {
            _ if by_type.contains(alg) => Ok(AlgorithmSet::of(&[alg])),
            Self::Secret { bytes, .. } if alg.is_symmetric() => {
                Err(KeyError::SecretTooShort { bytes: *bytes, alg })
            }
            _ => Err(KeyError::AlgorithmMismatch {
                alg,
                key: self.kind().name(),
            }),
        }
    }
}

/// Reads a JWK's JSON, without judging the key.
pub(crate) fn parse_jwk(jwk: &str) -> Result<Object<'_>, KeyError> {
    if jwk.len() > MAX_JWK_BYTES {
        return Err(KeyError::TooLong { bytes: jwk.len() });
    }
    Object::parse(jwk, &["key_ops"]).map_err(KeyError::Json)
}

/// Whether the text is a private JWK.
pub(crate) fn is_private(jwk: &str) -> bool {
    parse_jwk(jwk).is_ok_and(|jwk| {
        let kty = jwk.get("kty").and_then(Value::as_str);
        refuse_private_members(&jwk, kty).is_err()
    })
}

/// Whether the text is a JWK with a shared secret (RFC 7518 §6.4.1).
pub(crate) fn is_secret(jwk: &str) -> bool {
    parse_jwk(jwk).is_ok_and(|jwk| {
        jwk.get("kty").and_then(Value::as_str) == Some("oct") && jwk.get("k").is_some()
    })
}

/// Members that only a private key has (RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, RFC 9964 §3); `k` is
/// one if `kty` is not `oct`.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"];

/// A private member of `AKP` in the drafts of RFC 9964 (draft-ietf-cose-dilithium-06 §4), whose keys
/// are in use.
const DRAFT_PRIVATE_MEMBER: &str = "seed";

fn refuse_private_members(jwk: &Object<'_>, kty: Option<&str>) -> Result<(), KeyError> {
    if kty == Some("oct") {
        return Ok(());
    }
    let of_drafts = (kty == Some("AKP")).then_some(DRAFT_PRIVATE_MEMBER);
    match PRIVATE_MEMBERS
        .into_iter()
        .chain(of_drafts)
        .find(|name| jwk.get(name).is_some())
    {
        Some(member) => Err(KeyError::PrivateMember { member }),
        None => Ok(()),
    }
}

/// `use` is absent or `sig`; `key_ops` is absent or has `verify` (RFC 7517
/// §4.2 and §4.3).
fn refuse_other_uses(jwk: &Object<'_>) -> Result<(), KeyError> {
    match optional_string(jwk, "use")? {
        None | Some("sig") => {}
        Some(other) => return Err(KeyError::Use(Excerpt::new(other))),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Strings(operations)) => {
            let mut sorted: Vec<_> = operations.iter().collect();
            sorted.sort_unstable();
            if sorted.array_windows().any(|[a, b]| a == b) {
                return Err(KeyError::RepeatedOperation);
            }
            match operations.iter().any(|operation| operation == "verify") {
                true => Ok(()),
                false => Err(KeyError::NotForVerifying),
            }
        }
        Some(_) => Err(KeyError::MemberType {
            member: "key_ops",
            expected: "an array of strings",
        }),
    }
}

fn optional_string<'a>(
    jwk: &'a Object<'_>,
    member: &'static str,
) -> Result<Option<&'a str>, KeyError> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::MemberType {
            member,
            expected: "a string",
        }),
    }
}

fn required_string<'a>(jwk: &'a Object<'_>, member: &'static str) -> Result<&'a str, KeyError> {
    optional_string(jwk, member)?.ok_or(KeyError::MissingMember { member })
}

fn required_bytes(jwk: &Object<'_>, member: &'static str) -> Result<Vec<u8>, KeyError> {
    base64url::decode(required_string(jwk, member)?).map_err(|_| KeyError::NotBase64url { member })
}

/// The members that a thumbprint covers, in the order of their names (RFC 7638
/// §3.2), with values that need no escaping.
type ThumbprintMembers = Vec<(&'static str, String)>;

fn thumbprint(members: &ThumbprintMembers) -> Box<str> {
    let mut json = String::new();
    let mut separator = "{";
    for (name, value) in members {
        for text in [separator, "\"", name, "\":\"", value, "\""] {
            json.push_str(text);
        }
        separator = ",";
    }
    json.push('}');
    base64url::encode(sha256(json.as_bytes()).as_ref()).into()
}

/// SHA-256 by the stack that checks signatures, which already knows the processor's instructions.
/// Asking again takes 15 µs in a virtual machine, whose host answers.
pub(crate) fn sha256(bytes: &[u8]) -> impl AsRef<[u8]> + use<> {
    #[cfg(feature = "aws_lc_rs")]
    return aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    #[cfg(not(feature = "aws_lc_rs"))]
    return <sha2::Sha256 as sha2::Digest>::digest(bytes);
}
