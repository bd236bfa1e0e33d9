//! Types of keys.

use std::fmt;

/// The type of a key, `kty` (RFC 7518 §6.1, RFC 8037 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// An RSA public key (RFC 7518 §6.3).
    Rsa,
    /// A point on P-256, P-384 or P-521 (RFC 7518 §6.2).
    Ec,
    /// An Ed25519 public key (RFC 8037 §2).
    Okp,
    /// A shared secret (RFC 7518 §6.4).
    Oct,
}

impl KeyType {
    /// The value of `kty`: `RSA`, `EC`, `OKP` or `oct`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ec => "EC",
            Self::Okp => "OKP",
            Self::Oct => "oct",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
