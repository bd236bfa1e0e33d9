//! Compares a token's verification with the bare check of its signature by the same library.
//!
//! `cargo bench -p jwt_verify`; with `-- --ratios` only the ratios of the two, which `bench/run.py` reads.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::harness::kid;
use common::sign::{ISSUER, NOW, NOW_SECONDS, Signer};
use criterion::{BenchmarkId, Criterion, criterion_group};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, crypto};
use jwt_verify::{AlgorithmSet, Keyring, Policy, verify};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

/// The algorithms for which the crypto library's bare check is measured as well; jsonwebtoken has
/// no ES512.
const ALGORITHMS: [(Signer, &str); 7] = [
    (Signer::Rsa, "RS256"),
    (Signer::Rsa, "RS512"),
    (Signer::Rsa, "PS256"),
    (Signer::P256, "ES256"),
    (Signer::P384, "ES384"),
    (Signer::Ed25519, "EdDSA"),
    (Signer::Secret, "HS256"),
];

/// A token of about the length that issuers use, with `padding` more bytes of claims.
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

/// A token and what checks it.
struct Case {
    token: String,
    keyring: Keyring,
    key: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl Case {
    fn new(signer: Signer, alg: &str) -> Self {
        let jwk: Jwk = serde_json::from_value(signer.jwk()).unwrap();
        Self {
            token: token(signer, alg, 0),
            keyring: keyring(signer, 0),
            key: DecodingKey::from_jwk(&jwk).unwrap(),
            algorithm: alg.parse().unwrap(),
        }
    }

    /// The signature alone.
    fn bare(&self) {
        let (message, signature) = black_box(&self.token).rsplit_once('.').unwrap();
        let good = crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm);
        assert!(good.unwrap());
    }

    fn whole(&self) {
        black_box(verify(black_box(&self.token), &self.keyring, NOW).unwrap());
    }
}

fn first_verification(c: &mut Criterion) {
    for (signer, alg) in ALGORITHMS {
        let case = Case::new(signer, alg);
        let mut group = c.benchmark_group(alg);
        group.bench_function("bare", |b| b.iter(|| case.bare()));
        group.bench_function("verify", |b| b.iter(|| case.whole()));
    }
}

/// Prints, for each algorithm, the ratio of a verification to the bare check, and the nanoseconds
/// of both. They alternate each millisecond, so that other load on the machine affects both.
fn ratios() {
    const ROUNDS: usize = 401;

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn nanoseconds(times: u32, run: &dyn Fn()) -> f64 {
        let began = Instant::now();
        for _ in 0..times {
            run();
        }
        began.elapsed().as_nanos() as f64 / f64::from(times)
    }

    for (signer, alg) in ALGORITHMS {
        let case = Case::new(signer, alg);
        let (whole, bare) = (|| case.whole(), || case.bare());
        let times = (1e6 / nanoseconds(100, &bare)) as u32 + 1;
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| (nanoseconds(times, &whole), nanoseconds(times, &bare)))
            .collect();
        let ratio = median(rounds.iter().map(|(whole, bare)| whole / bare).collect());
        let whole = median(rounds.iter().map(|(whole, _)| *whole).collect());
        let bare = median(rounds.iter().map(|(_, bare)| *bare).collect());
        println!("{alg} {ratio:.3} {whole:.0} {bare:.0}");
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

fn main() {
    if std::env::args().any(|argument| argument == "--ratios") {
        return ratios();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
