//! Signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2, RFC 9964 §5).

use std::fmt;

use jsonwebtoken::Algorithm as Jwa;
use shared_types::Excerpt;

use crate::key_type::{KeyKind, KeyType};

/// A signature algorithm that this crate knows. `none` is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384 (RFC 7518 §3.3).
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512 (RFC 7518 §3.3).
    Rs512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, 32 bytes of salt (RFC 7518 §3.5).
    Ps256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, 48 bytes of salt (RFC 7518 §3.5).
    Ps384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, 64 bytes of salt (RFC 7518 §3.5).
    Ps512,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// ECDSA on P-384 with SHA-384 (RFC 7518 §3.4).
    Es384,
    /// ECDSA on P-521 with SHA-512 (RFC 7518 §3.4).
    Es512,
    /// Ed25519, under its old name `EdDSA` (RFC 8037 §3.1) or as `Ed25519`
    /// (RFC 9864 §2.2). Ed448 is not supported.
    EdDsa,
    /// ML-DSA-44, with an empty context and without pre-hashing (RFC 9964 §5, FIPS 204).
    MlDsa44,
    /// ML-DSA-65, likewise.
    MlDsa65,
    /// ML-DSA-87, likewise.
    MlDsa87,
    /// HMAC with SHA-256 (RFC 7518 §3.2).
    Hs256,
    /// HMAC with SHA-384 (RFC 7518 §3.2).
    Hs384,
    /// HMAC with SHA-512 (RFC 7518 §3.2).
    Hs512,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 16] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// The algorithm of this `alg` value. Names are case-sensitive (RFC 7515
    /// §4.1.1); `Ed25519` is [`Algorithm::EdDsa`].
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The name in the registry of RFC 7518 §7.1 (IANA, "JSON Web Signature and Encryption
    /// Algorithms"); `EdDSA` for Ed25519.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the key that checks a signature can also make one: HMAC.
    pub fn is_symmetric(self) -> bool {
        self.key_type() == KeyType::Oct
    }

    /// The only type of key that the algorithm works with.
    pub(crate) fn key_type(self) -> KeyType {
        self.row().key.key_type()
    }

    /// Row of the algorithm in the table of all. A new algorithm is a row here.
    pub(crate) const fn row(self) -> Row {
        use Check::{Beside, Provider};
        use SignatureLength::{Bytes, OfModulus};

        match self {
            Self::Rs256 => row("RS256", KeyKind::Rsa, OfModulus, Provider(Jwa::RS256)),
            Self::Rs384 => row("RS384", KeyKind::Rsa, OfModulus, Provider(Jwa::RS384)),
            Self::Rs512 => row("RS512", KeyKind::Rsa, OfModulus, Provider(Jwa::RS512)),
            Self::Ps256 => row("PS256", KeyKind::Rsa, OfModulus, Provider(Jwa::PS256)),
            Self::Ps384 => row("PS384", KeyKind::Rsa, OfModulus, Provider(Jwa::PS384)),
            Self::Ps512 => row("PS512", KeyKind::Rsa, OfModulus, Provider(Jwa::PS512)),
            Self::Es256 => row("ES256", KeyKind::P256, Bytes(64), Provider(Jwa::ES256)),
            Self::Es384 => row("ES384", KeyKind::P384, Bytes(96), Provider(Jwa::ES384)),
            // jsonwebtoken does not know ES512.
            Self::Es512 => row("ES512", KeyKind::P521, Bytes(132), Beside),
            Self::EdDsa => row("EdDSA", KeyKind::Ed25519, Bytes(64), Provider(Jwa::EdDSA)),
            // Nor does it know these.
            Self::MlDsa44 => row("ML-DSA-44", KeyKind::MlDsa44, Bytes(2_420), Beside),
            Self::MlDsa65 => row("ML-DSA-65", KeyKind::MlDsa65, Bytes(3_309), Beside),
            Self::MlDsa87 => row("ML-DSA-87", KeyKind::MlDsa87, Bytes(4_627), Beside),
            Self::Hs256 => row("HS256", KeyKind::Secret, Bytes(32), Provider(Jwa::HS256)),
            Self::Hs384 => row("HS384", KeyKind::Secret, Bytes(48), Provider(Jwa::HS384)),
            Self::Hs512 => row("HS512", KeyKind::Secret, Bytes(64), Provider(Jwa::HS512)),
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u16
    }
}

/// A row of the table of algorithms.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The kind of key that it takes.
    pub(crate) key: KeyKind,
    pub(crate) signature: SignatureLength,
    pub(crate) check: Check,
}

/// Length of a signature (RFC 7518 §3.2 to §3.5, RFC 8032 §5.1.6, FIPS 204 table 2).
#[derive(Clone, Copy)]
pub(crate) enum SignatureLength {
    /// A number of bytes. For an HMAC it is the length of the hash, and the least length of a
    /// secret.
    Bytes(usize),
    /// As long as the RSA key's modulus.
    OfModulus,
}

/// Code that checks a signature.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// jsonwebtoken's crypto provider, which calls the algorithm so.
    Provider(Jwa),
    /// The stack behind it, asked directly.
    Beside,
}

const fn row(name: &'static str, key: KeyKind, signature: SignatureLength, check: Check) -> Row {
    Row {
        name,
        key,
        signature,
        check,
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of algorithms, such as those that an issuer may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlgorithmSet(u32);

impl AlgorithmSet {
    /// Every algorithm except the HMAC ones, which an issuer has to name.
    pub const ASYMMETRIC: Self = Self::of(&[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
        Algorithm::MlDsa44,
        Algorithm::MlDsa65,
        Algorithm::MlDsa87,
    ]);

    /// Every algorithm.
    pub const ALL: Self = Self::of(&Algorithm::ALL);

    /// The set of the algorithms of these names; without names, the empty set.
    ///
    /// # Errors
    ///
    /// The first name that is not the name of an algorithm. `none` is not one.
    pub fn from_names<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, UnknownAlgorithm> {
        let mut set = Self::of(&[]);
        for name in names {
            let algorithm =
                Algorithm::from_name(name).ok_or_else(|| UnknownAlgorithm(name.into()))?;
            set = Self(set.0 | algorithm.bit());
        }
        Ok(set)
    }

    /// Whether the algorithm is in the set.
    pub fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    pub(crate) const fn of(algorithms: &[Algorithm]) -> Self {
        let mut bits = 0;
        let mut rest = algorithms;
        while let [first, others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    }

    /// The algorithms that work with such a key.
    pub(crate) fn of_kind(kind: KeyKind) -> Self {
        Self::of(&Algorithm::ALL).filter(|alg| alg.row().key == kind)
    }

    pub(crate) fn filter(self, is_in: impl Fn(&Algorithm) -> bool) -> Self {
        let kept = self.iter().filter(is_in);
        Self(kept.fold(0, |bits, alg| bits | alg.bit()))
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(move |&algorithm| self.contains(algorithm))
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{algorithm}")?;
        }
        Ok(())
    }
}

/// Algorithms of RFC 7518 §4 and §5 that encrypt: how their names begin.
const OF_ENCRYPTION: [&str; 6] = ["RSA-OAEP", "RSA1_5", "ECDH-ES", "PBES2-", "dir", "A"];

/// Advice on an `alg` that is none of [`Algorithm`], as a clause. `name` may be cut off.
pub(crate) fn unsupported_advice(name: &str) -> String {
    let known = ["Ed25519"]
        .into_iter()
        .chain(Algorithm::ALL.map(Algorithm::name));
    if name.eq_ignore_ascii_case("none") {
        return "a token with it is not signed, so anybody can have written it".to_owned();
    }
    if let Some(meant) = known
        .into_iter()
        .find(|it| it.eq_ignore_ascii_case(name.trim()))
    {
        return format!("did you mean \"{meant}\", as names are compared to the letter");
    }
    let is_of_encryption = OF_ENCRYPTION.iter().any(|start| {
        name.strip_prefix(start)
            .is_some_and(|rest| *start != "A" || rest.starts_with(|ch: char| ch.is_ascii_digit()))
    });
    match is_of_encryption {
        true => "it is for encryption; have the issuer use a key for signatures".to_owned(),
        false => "have the issuer sign with another one, such as RS256, ES256 or EdDSA".to_owned(),
    }
}

/// A name that is not the name of a supported signature algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm(pub String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Excerpt::new(&self.0);
        let advice = unsupported_advice(&self.0);
        write!(f, "algorithm {name} is not supported: {advice}")
    }
}

impl std::error::Error for UnknownAlgorithm {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
        for name in [
            "", "none", "rs256", "RS256 ", "ES256K", "Ed448", "EdDsa", "RS1",
        ] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn an_unsupported_name_gets_the_advice_that_fits() {
        for (names, advice) in [
            (&["rs256", "Rs256", "RS256 "][..], "did you mean \"RS256\""),
            (&["eddsa", "EDDSA", "EdDsa"], "did you mean \"EdDSA\""),
            (&["ed25519"], "did you mean \"Ed25519\""),
            (&["ml-dsa-65", "ML-DSA-65 "], "did you mean \"ML-DSA-65\""),
            (
                &[
                    "RSA-OAEP",
                    "RSA-OAEP-256",
                    "RSA1_5",
                    "A256KW",
                    "A128GCMKW",
                    "A128CBC-HS256",
                    "ECDH-ES",
                    "ECDH-ES+A128KW",
                    "PBES2-HS256+A128KW",
                    "dir",
                ],
                "for encryption",
            ),
            (
                &[
                    "ES256K",
                    "Ed448",
                    "SLH-DSA-SHA2-128s",
                    "ML-DSA-66",
                    "HashML-DSA-65",
                    "ESP256",
                    "HS1",
                    "",
                    "AES",
                    "x",
                ],
                "such as RS256",
            ),
            (&["none", "NONE", "nOnE"], "anybody can have written"),
        ] {
            for name in names {
                let told = unsupported_advice(name);
                assert!(told.contains(advice), "{name}: {told}");
            }
        }
    }

    #[test]
    fn asymmetric_is_all_but_hmac() {
        for algorithm in Algorithm::ALL {
            assert_eq!(
                AlgorithmSet::ASYMMETRIC.contains(algorithm),
                !algorithm.is_symmetric()
            );
        }
    }

    #[test]
    fn sets_of_names() {
        let set = AlgorithmSet::from_names(["RS256", "Ed25519", "HS512"]).unwrap();
        assert_eq!(set.to_string(), "RS256, EdDSA, HS512");
        let unknown = AlgorithmSet::from_names(["RS256", "none"]).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "algorithm \"none\" is not supported: a token with it is not signed, so anybody can \
             have written it"
        );
        assert!(AlgorithmSet::from_names([]).unwrap().is_empty());
    }
}
