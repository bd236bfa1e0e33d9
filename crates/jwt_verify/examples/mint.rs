//! Mints tokens of many users, for measurements: `cargo run --example mint ALGORITHM COUNT`, of EdDSA, ES256, RS256.
//!
//! Prints the issuer's JWKS, with a key made for this run, and then a line for each user: number, tab, claims, tab,
//! token. The tokens are good for a day.

use std::io::{self, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const ISSUER: &str = "https://crowd.test.example";

enum Signer {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    fn new(algorithm: &str) -> Option<Self> {
        Some(match algorithm {
            "EdDSA" => Self::EdDsa(Ed25519KeyPair::generate().ok()?),
            "ES256" => Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?),
            "RS256" => Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).ok()?),
            _ => return None,
        })
    }

    fn jwk(&self) -> Value {
        match self {
            Self::EdDsa(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(key.public_key().as_ref())})
            }
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(x), "y": encode(y)})
            }
            Self::Rs256(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (
                    n.big_endian_without_leading_zero(),
                    e.big_endian_without_leading_zero(),
                );
                json!({"kty": "RSA", "kid": "k", "n": encode(n), "e": encode(e)})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::EdDsa(key) => Some(key.sign(message).as_ref().into()),
            Self::Es256(key) => Some(key.sign(&random, message).ok()?.as_ref().into()),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let algorithm = arguments.next().ok_or("no algorithm")?;
    let count: u32 = arguments.next().ok_or("no count")?.parse()?;
    let signer = Signer::new(&algorithm).ok_or("no such algorithm")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", json!({"keys": [signer.jwk()]}))?;
    let header = encode(json!({"alg": algorithm, "typ": "JWT", "kid": "k"}).to_string());
    for user in 1..=count {
        let claims = json!({
            "iss": ISSUER, "sub": format!("0b9d8c3e-6f0a-4f5e-9a51-{user:012}"), "aud": "authenticated",
            "iat": now, "exp": now + 86_400, "role": "authenticated", "email": format!("user{user}@example.com"),
            "session_id": format!("5f0c2b1e-1d2c-4b3a-8f9e-{user:012}"), "tenant_id": "acme",
            "app_metadata": {"provider": "email", "providers": ["email"]}, "aal": "aal1",
        })
        .to_string();
        let signed = format!("{header}.{}", encode(&claims));
        let signature = signer.sign(signed.as_bytes()).ok_or("no signature")?;
        writeln!(out, "{user}\t{claims}\t{signed}.{}", encode(signature))?;
    }
    Ok(out.flush()?)
}
