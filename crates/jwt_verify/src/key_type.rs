//! Types of keys.

use std::fmt;

/// The type of a key, `kty` (RFC 7518 §6.1, RFC 8037 §2, RFC 9964 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// An RSA public key (RFC 7518 §6.3).
    Rsa,
    /// A point on P-256, P-384 or P-521 (RFC 7518 §6.2).
    Ec,
    /// An Ed25519 public key (RFC 8037 §2).
    Okp,
    /// A public key of the one algorithm that the JWK names: ML-DSA (RFC 9964 §5).
    Akp,
    /// A shared secret (RFC 7518 §6.4).
    Oct,
}

impl KeyType {
    /// The value of `kty`: `RSA`, `EC`, `OKP`, `AKP` or `oct`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ec => "EC",
            Self::Okp => "OKP",
            Self::Akp => "AKP",
            Self::Oct => "oct",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kind of key that a signature algorithm takes: narrower than the type, by the curve
/// or by the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    Secret,
}

impl KeyKind {
    pub(crate) fn key_type(self) -> KeyType {
        match self {
            Self::Rsa => KeyType::Rsa,
            Self::P256 | Self::P384 | Self::P521 => KeyType::Ec,
            Self::Ed25519 => KeyType::Okp,
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => KeyType::Akp,
            Self::Secret => KeyType::Oct,
        }
    }

    /// The type, the curve or the algorithm, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
            Self::Secret => "oct",
        }
    }
}
