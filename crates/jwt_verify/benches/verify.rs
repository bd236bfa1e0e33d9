//! A token's verification against the bare check of its signature by the same library.
//!
//! `cargo bench -p jwt_verify`; `bench/run.py` reads the results.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::harness::kid;
use common::sign::{ISSUER, NOW, NOW_SECONDS, Signer};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, crypto};
use jwt_verify::{AlgorithmSet, Keyring, Policy, verify};
use serde_json::json;
use std::hint::black_box;

/// Those that the crypto library's bare check is measured for as well; jsonwebtoken has none of ES512.
const ALGORITHMS: [(Signer, &str); 7] = [
    (Signer::Rsa, "RS256"),
    (Signer::Rsa, "RS512"),
    (Signer::Rsa, "PS256"),
    (Signer::P256, "ES256"),
    (Signer::P384, "ES384"),
    (Signer::Ed25519, "EdDSA"),
    (Signer::Secret, "HS256"),
];

/// A token of about the length that issuers make, with `padding` more bytes of claims.
fn token(signer: Signer, alg: &str, padding: usize) -> String {
    let header = json!({"alg": alg, "kid": kid(signer), "typ": "JWT"}).to_string();
    let payload = json!({
        "iss": ISSUER,
        "sub": "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11",
        "aud": "my-app",
        "iat": NOW_SECONDS,
        "exp": NOW_SECONDS + 900,
        "email": "alice@acme.example",
        "role": "authenticated",
        "tenant_id": "acme",
        "padding": "x".repeat(padding),
    });
    signer.token(alg, &header, &payload.to_string())
}

fn keyring(signer: Signer, others: usize) -> Keyring {
    let mut keyring = Keyring::new();
    let policy = Policy {
        audience: Some(vec!["my-app".to_owned()]),
        algorithms: AlgorithmSet::from_names(ALGORITHMS.map(|(_, alg)| alg)).unwrap(),
        ..Policy::default()
    };
    keyring.add_issuer(ISSUER, policy);
    let jwk = signer.jwk().to_string();
    for other in 0..others {
        keyring.add_key(ISSUER, Some(&format!("other-{other}")), None, &jwk, None);
    }
    keyring.add_key(ISSUER, Some(kid(signer)), None, &jwk, None);
    keyring
}

fn first_verification(c: &mut Criterion) {
    for (signer, alg) in ALGORITHMS {
        let token = token(signer, alg, 0);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let jwk: Jwk = serde_json::from_value(signer.jwk()).unwrap();
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let algorithm = alg.parse().unwrap();
        let keyring = keyring(signer, 0);
        let mut group = c.benchmark_group(alg);
        group.bench_function("bare", |b| {
            b.iter(|| {
                assert!(
                    crypto::verify(signature, black_box(message).as_bytes(), &key, algorithm)
                        .unwrap()
                );
            });
        });
        group.bench_function("verify", |b| {
            b.iter(|| verify(black_box(&token), &keyring, NOW).unwrap());
        });
    }
}

fn scale(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys");
    let token_of = |padding| token(Signer::Ed25519, "EdDSA", padding);
    let one = token_of(0);
    for keys in [1, 100, 10_000] {
        let keyring = keyring(Signer::Ed25519, keys - 1);
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| verify(black_box(&one), &keyring, NOW).unwrap());
        });
    }
    drop(group);
    let mut group = c.benchmark_group("bytes");
    let keyring = keyring(Signer::Ed25519, 0);
    for padding in [0, 2_700, 5_700, 23_700] {
        let token = token_of(padding);
        group.bench_function(BenchmarkId::from_parameter(token.len()), |b| {
            b.iter(|| verify(black_box(&token), &keyring, NOW).unwrap());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = first_verification, scale
}
criterion_main!(benches);
