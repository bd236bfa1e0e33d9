//! Makes tokens and keys for the tests.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use jwt_verify::{AlgorithmSet, Keyring, Policy, UnixTime};
use ml_dsa::{ExpandedSigningKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Pkcs1v15Sign, PrivateKey, Pss};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The time at which the tests check their tokens: 2026-01-01.
pub const NOW_SECONDS: i64 = 1_767_225_600;
pub const NOW: UnixTime = UnixTime::from_seconds(NOW_SECONDS);
pub const SECOND: Duration = Duration::from_secs(1);
/// The shortest length of time that the rules distinguish from zero.
pub const MICRO: Duration = Duration::from_micros(1);

pub const ISSUER: &str = "https://issuer.example";

/// One signing key of each type, and a second Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    Ed25519,
    OtherEd25519,
    P256,
    P384,
    P521,
    Rsa,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    Secret,
}

impl Signer {
    #[cfg(feature = "aws_lc_rs")]
    pub const ALL: [Self; 10] = [
        Self::Ed25519,
        Self::OtherEd25519,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::Secret,
    ];

    /// The build on RustCrypto admits no key of ML-DSA.
    #[cfg(not(feature = "aws_lc_rs"))]
    pub const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::OtherEd25519,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa,
        Self::Secret,
    ];

    /// The public JWK, without `kid` and `use`, and without `alg` where that is optional.
    pub fn jwk(self) -> Value {
        match self {
            Self::Ed25519 | Self::OtherEd25519 => {
                let x = self.ed25519().verifying_key();
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(x.as_bytes())})
            }
            Self::P256 => ec(
                "P-256",
                p256_key().verifying_key().to_sec1_point(false).as_bytes(),
            ),
            Self::P384 => ec(
                "P-384",
                p384_key().verifying_key().to_sec1_point(false).as_bytes(),
            ),
            Self::P521 => {
                let key = p521::ecdsa::VerifyingKey::from(&p521_key());
                ec("P-521", key.to_sec1_point(false).as_bytes())
            }
            Self::Rsa => json!({
                "kty": "RSA",
                "n": encode(&RSA.n_bytes()),
                "e": encode(&RSA.e_bytes()),
            }),
            Self::MlDsa44 => ml_dsa_jwk::<MlDsa44>("ML-DSA-44"),
            Self::MlDsa65 => ml_dsa_jwk::<MlDsa65>("ML-DSA-65"),
            Self::MlDsa87 => ml_dsa_jwk::<MlDsa87>("ML-DSA-87"),
            Self::Secret => json!({"kty": "oct", "k": encode(SECRET)}),
        }
    }

    /// The JWK with some members added or replaced.
    pub fn jwk_with(self, members: Value) -> String {
        self.jwk_with_value(members).to_string()
    }

    /// The same, not yet as text.
    pub fn jwk_with_value(self, members: Value) -> Value {
        let mut jwk = self.jwk();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// The algorithms that the key takes.
    pub fn algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Ed25519 | Self::OtherEd25519 => &["EdDSA", "Ed25519"],
            Self::P256 => &["ES256"],
            Self::P384 => &["ES384"],
            Self::P521 => &["ES512"],
            Self::Rsa => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Self::MlDsa44 => &["ML-DSA-44"],
            Self::MlDsa65 => &["ML-DSA-65"],
            Self::MlDsa87 => &["ML-DSA-87"],
            Self::Secret => &["HS256", "HS384", "HS512"],
        }
    }

    /// The signature over any bytes.
    pub fn sign(self, alg: &str, message: &[u8]) -> Vec<u8> {
        match (self, alg) {
            (Self::Ed25519 | Self::OtherEd25519, _) => {
                self.ed25519().sign(message).to_bytes().to_vec()
            }
            (Self::P256, _) => {
                let signature: p256::ecdsa::Signature = p256_key().sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::P384, _) => {
                let signature: p384::ecdsa::Signature = p384_key().sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::P521, _) => {
                let signature: p521::ecdsa::Signature = p521_key().sign(message);
                signature.to_bytes().to_vec()
            }
            (Self::Rsa, alg) => sign_rsa(alg, message),
            (Self::MlDsa44, _) => ml_dsa_sign::<MlDsa44>(message),
            (Self::MlDsa65, _) => ml_dsa_sign::<MlDsa65>(message),
            (Self::MlDsa87, _) => ml_dsa_sign::<MlDsa87>(message),
            (Self::Secret, alg) => {
                let key = jsonwebtoken::EncodingKey::from_secret(SECRET).unwrap();
                let alg = alg.parse().unwrap();
                let signature = jsonwebtoken::crypto::sign(message, &key, alg).unwrap();
                URL_SAFE_NO_PAD.decode(signature).unwrap()
            }
        }
    }

    /// A token with these JSON texts, valid or not.
    pub fn token(self, alg: &str, header: &str, payload: &str) -> String {
        self.token_of_bytes(alg, header.as_bytes(), payload.as_bytes())
    }

    pub fn token_of_bytes(self, alg: &str, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.sign(alg, signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn ed25519(self) -> ed25519_dalek::SigningKey {
        let seed = if self == Self::Ed25519 {
            [7; 32]
        } else {
            [8; 32]
        };
        ed25519_dalek::SigningKey::from_bytes(&seed)
    }
}

const SECRET: &[u8] = b"sixty-four bytes of a secret that nobody knows but these tests..";

static RSA: LazyLock<PrivateKey> = LazyLock::new(|| {
    let jwk: Value =
        serde_json::from_str(include_str!("../vectors/rsa-2048-private.json")).unwrap();
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        BoxedUint::from_be_slice_vartime(&bytes)
    };
    let primes = vec![number("p"), number("q")];
    PrivateKey::from_components(number("n"), number("e"), number("d"), primes).unwrap()
});

fn p256_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

fn p384_key() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap()
}

fn p521_key() -> p521::ecdsa::SigningKey {
    let mut scalar = [7; 66];
    scalar[0] = 0;
    p521::ecdsa::SigningKey::from_slice(&scalar).unwrap()
}

fn ml_dsa_key<P: MlDsaParams>() -> ExpandedSigningKey<P> {
    ExpandedSigningKey::from_seed(&[7; 32].into())
}

fn ml_dsa_jwk<P: MlDsaParams>(alg: &str) -> Value {
    let key = ml_dsa_key::<P>().verifying_key().encode();
    json!({"kty": "AKP", "alg": alg, "pub": encode(&key)})
}

fn ml_dsa_sign<P: MlDsaParams>(message: &[u8]) -> Vec<u8> {
    let signature = ml_dsa_key::<P>().sign_deterministic(message, &[]);
    signature.unwrap().encode().to_vec()
}

fn ec(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
}

fn sign_rsa(alg: &str, message: &[u8]) -> Vec<u8> {
    let mut rng = rand::rng();
    let signature = match alg {
        "RS256" => RSA.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)),
        "RS384" => RSA.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message)),
        "RS512" => RSA.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message)),
        "PS256" => RSA.sign_with_rng(&mut rng, Pss::<Sha256>::new(), &Sha256::digest(message)),
        "PS384" => RSA.sign_with_rng(&mut rng, Pss::<Sha384>::new(), &Sha384::digest(message)),
        "PS512" => RSA.sign_with_rng(&mut rng, Pss::<Sha512>::new(), &Sha512::digest(message)),
        other => panic!("no RSA algorithm: {other}"),
    };
    signature.unwrap()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A policy with only the rules that cannot be switched off.
pub fn lenient() -> Policy {
    Policy {
        required_claims: vec![],
        leeway: Duration::ZERO,
        token_types: None,
        ..Policy::default()
    }
}

pub fn algorithms(names: &[&str]) -> AlgorithmSet {
    AlgorithmSet::from_names(names.iter().copied()).unwrap()
}

/// [`ISSUER`] with one key whose `kid` is "k".
pub fn keyring_with(signer: Signer, policy: Policy) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add_issuer(ISSUER, policy);
    assert!(keyring.add_key(ISSUER, Some("k"), None, &signer.jwk().to_string(), None));
    keyring
}

/// An Ed25519 token of [`ISSUER`] with these claims and a header with `kid` "k".
pub fn token_with(claims: Value) -> String {
    token_of(json!({"alg": "EdDSA", "kid": "k"}), claims)
}

/// An Ed25519 token with this header and these claims besides `iss`.
pub fn token_of(header: Value, mut claims: Value) -> String {
    if claims.get("iss").is_none() {
        claims["iss"] = ISSUER.into();
    }
    Signer::Ed25519.token("EdDSA", &header.to_string(), &claims.to_string())
}
