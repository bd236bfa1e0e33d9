//! Properties that must hold for any bytes: the bodies of property tests and fuzz targets.
//!
//! A fuzz target includes this folder with `#[path]` and calls one function.

use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_verify::cross_check::{verdicts, words};
use jwt_verify::{
    Algorithm, Bucket, Error, Key, Keyring, Policy, SECRET_BYTES, SignatureMemory, UnixTime,
    Verified, inspect, read_jwks, unverified_claims, verify, verify_with,
};
use serde_json::{Value, json};

use super::PLACES;
use super::cases::all_algorithms;
use super::sign::{ISSUER, MICRO, NOW, Signer, lenient};

/// [`ISSUER`] with a key of every type, each with its own `kid`.
pub static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut keyring = Keyring::new();
    let policy = Policy {
        algorithms: all_algorithms(),
        ..lenient()
    };
    for issuer in [ISSUER, "*"] {
        keyring.add_issuer(issuer, policy.clone());
        for signer in Signer::ALL {
            let jwk = signer.jwk().to_string();
            keyring.add_key(issuer, Some(kid(signer)), None, &jwk, None);
        }
    }
    keyring
});

static KEYS: LazyLock<Vec<(Signer, Key)>> = LazyLock::new(|| {
    let key = |signer: Signer| Key::from_jwk(&signer.jwk().to_string(), all_algorithms()).unwrap();
    Signer::ALL.map(|signer| (signer, key(signer))).into()
});

pub fn kid(signer: Signer) -> &'static str {
    match signer {
        Signer::Ed25519 => "ed25519",
        Signer::OtherEd25519 => "other",
        Signer::P256 => "p256",
        Signer::P384 => "p384",
        Signer::P521 => "p521",
        Signer::Rsa => "rsa",
        Signer::MlDsa44 => "ml-dsa-44",
        Signer::MlDsa65 => "ml-dsa-65",
        Signer::MlDsa87 => "ml-dsa-87",
        Signer::Secret => "secret",
    }
}

/// Parses JSON without serde_json's own limit, which is one level below ours.
fn parse(json: &[u8]) -> Value {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut deserializer).unwrap()
}

/// A token that this key signs, and that breaks no rule.
pub fn good_token(signer: Signer, alg: &str) -> String {
    let header = json!({"alg": alg, "kid": kid(signer), "typ": "JWT"}).to_string();
    let payload =
        json!({"iss": ISSUER, "sub": kid(signer), "aud": ["a", "b"], "n": 1.5}).to_string();
    signer.token(alg, &header, &payload)
}

/// Any text as a token: no panic, and `inspect` agrees with `verify`.
pub fn any_token(bytes: &[u8]) {
    let _ = unverified_claims(&String::from_utf8_lossy(bytes));
    if let Ok(token) = std::str::from_utf8(bytes) {
        let _ = verdict(token, &KEYRING);
    }
}

/// Any bytes as a header, correctly signed: an accepted header names the key.
pub fn any_header(bytes: &[u8]) {
    let payload = format!("{{\"iss\":\"{ISSUER}\"}}");
    let token = Signer::Ed25519.token_of_bytes("EdDSA", bytes, payload.as_bytes());
    if let Ok(verified) = verdict(&token, &KEYRING) {
        let header: Value = parse(bytes);
        assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
        assert_eq!(header["kid"].as_str().unwrap(), kid(Signer::Ed25519));
        assert_eq!(verified.key_id.as_deref(), Some(kid(Signer::Ed25519)));
        assert!(header.get("crit").is_none());
    }
}

/// Any bytes as a payload, correctly signed: an accepted payload is returned unchanged, and is
/// valid for exactly the time that it states.
pub fn any_claims(bytes: &[u8]) {
    let header = json!({"alg": "EdDSA", "kid": kid(Signer::Ed25519)}).to_string();
    let token = Signer::Ed25519.token_of_bytes("EdDSA", header.as_bytes(), bytes);
    let Ok(verified) = verdict(&token, &KEYRING) else {
        return;
    };
    assert_eq!(verified.claims.as_bytes(), bytes);
    let claims: Value = parse(bytes);
    assert_eq!(
        claims.get("iss").map(|iss| iss.as_str().unwrap()),
        verified.issuer.as_deref()
    );
    assert_eq!(
        claims.get("sub").map(|sub| sub.as_str().unwrap()),
        verified.subject.as_deref()
    );
    check_window(&token, &KEYRING, &verified);
}

/// An accepted token's window is exact to the microsecond.
pub fn check_window(token: &str, keyring: &Keyring, verified: &Verified) {
    let (from, until) = (verified.valid_from, verified.valid_until);
    assert!(from <= NOW && NOW < until);
    let middle =
        |a: UnixTime, b: UnixTime| UnixTime::from_micros(a.as_micros() / 2 + b.as_micros() / 2);
    for now in [from, middle(from, NOW), middle(until, NOW), until - MICRO] {
        let now = now.clamp(from, until - MICRO);
        assert!(verify(token, keyring, now).is_ok(), "{from} {now} {until}");
    }
    if until < UnixTime::MAX {
        assert!(verify(token, keyring, until).is_err(), "{until}");
    }
    if from > UnixTime::MIN {
        assert!(verify(token, keyring, from - MICRO).is_err(), "{from}");
    }
}

/// Any text as a key: no panic, and an admitted key is public and has one thumbprint.
pub fn any_jwk(bytes: &[u8]) {
    let Ok(jwk) = std::str::from_utf8(bytes) else {
        return;
    };
    match Key::from_jwk(jwk, all_algorithms()) {
        Ok(key) => {
            let members: Value = parse(jwk.as_bytes());
            assert_eq!(members["kty"], key.key_type().name());
            assert!(members.get("d").is_none() || members["kty"] == "oct");
            assert_eq!(
                members.get("kid").map(|kid| kid.as_str().unwrap()),
                key.kid()
            );
            assert_eq!(key.thumbprint().len(), 43);
            let _ = format!("{key:?}");
        }
        Err(error) => {
            let _ = format!("{error} {error:?}");
        }
    }
}

/// Any text as a set: no panic, and each entry gets the same result as alone.
pub fn any_jwks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for entry in read_jwks(text, all_algorithms()).unwrap_or_default() {
        let alone = Key::from_jwk(&entry.jwk, all_algorithms());
        match entry.key {
            Ok(key) => assert_eq!(key.thumbprint(), alone.unwrap().thumbprint()),
            Err(error) => drop(error.to_string()),
        }
    }
}

/// Any bytes as a signature, for any key and algorithm: both stacks agree.
pub fn any_signature(message: &[u8], signature: &[u8]) {
    for (signer, key) in KEYS.iter() {
        for name in Signer::ALL.into_iter().flat_map(Signer::algorithms) {
            let alg = Algorithm::from_name(name).unwrap();
            let (first, second) = verdicts(key, alg, message, signature);
            assert_eq!(first, second, "{signer:?} {name}");
            assert!(!first || signer.algorithms().contains(name));
        }
    }
}

/// A good token after any change: accepted only if no signed byte changed, and no byte at all where
/// a signature has only one form.
pub fn changed_token(signer: Signer, good: &str, changed: &str) {
    if verdict(changed, &KEYRING).is_err() {
        return;
    }
    let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
    assert_eq!(signed(good), signed(changed));
    // If (r, s) is an ECDSA signature, so is (r, -s).
    if !matches!(signer, Signer::P256 | Signer::P384 | Signer::P521) {
        assert_eq!(good, changed);
    }
}

/// Forged tokens, each of the header and payload of one token with the signature of another, and
/// good ones, for a memory of signatures that has any content: the words of what was noted, whole,
/// torn and mixed. No forged token is accepted, and each good one is.
pub fn any_memory(steps: &[[u8; 3]]) {
    let buckets = [const { Bucket::empty() }; 2];
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let words: Vec<_> = buckets.iter().flat_map(words).collect();
    let word = |index: u8| words[usize::from(index) % words.len()];
    let with_memory = |token: &str| verify_with(token, |_| &*KEYRING, Some(&memory), NOW);
    for [step, a, b] in steps {
        let (a, b) = (*a, *b);
        match step % 4 {
            0 => {
                let (good, _) = &GOOD_AND_FORGED[usize::from(a) % GOOD_AND_FORGED.len()];
                assert!(with_memory(good).is_ok(), "{good}");
            }
            1 => word(a).store(word(b).load(Relaxed), Relaxed),
            2 => drop(word(a).fetch_xor(word(b).load(Relaxed), Relaxed)),
            _ => word(a).store(u64::from(b), Relaxed),
        }
        for (_, forged) in GOOD_AND_FORGED.iter() {
            assert!(with_memory(forged).is_err(), "{forged}");
        }
    }
}

/// Two users' tokens by each asymmetric key, and each of them with the other's signature.
static GOOD_AND_FORGED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let asymmetric = Signer::ALL
        .into_iter()
        .filter(|&signer| signer != Signer::Secret);
    asymmetric
        .flat_map(|signer| {
            let alg = signer.algorithms()[0];
            let header = json!({"alg": alg, "kid": kid(signer)}).to_string();
            let token = |sub: &str| {
                let payload = json!({"iss": ISSUER, "sub": sub}).to_string();
                signer.token(alg, &header, &payload)
            };
            let (alice, bob) = (token("alice"), token("bob"));
            let forged = |signed: &str, signature: &str| {
                let (signed, _) = signed.rsplit_once('.').unwrap();
                let (_, signature) = signature.rsplit_once('.').unwrap();
                format!("{signed}.{signature}")
            };
            let (as_alice, as_bob) = (forged(&alice, &bob), forged(&bob, &alice));
            [(alice, as_alice), (bob, as_bob)]
        })
        .collect()
});

/// Any bytes: what matters is that nobody knows those of a server.
pub const SECRET: [u8; SECRET_BYTES] = [0x5a; SECRET_BYTES];

thread_local! {
    /// So small that its places are overwritten all the time.
    static BUCKETS: &'static [Bucket] = Vec::leak(vec![Bucket::empty(), Bucket::empty()]);
    static MEMORY: SignatureMemory<'static> =
        SignatureMemory::new(BUCKETS.with(|buckets| *buckets), &SECRET);
}

/// Checks that a memory of signatures changes nothing about a verdict: neither where the signature
/// has to be checked, nor where it is known.
pub fn check_memory(
    token: &str,
    keyring: &Keyring,
    now: UnixTime,
    verdict: &Result<Verified, Error>,
) {
    MEMORY.with(|memory| {
        let outline = |verdict: &Result<Verified, Error>| {
            let claims = verdict.as_ref().ok().map(|verified| &verified.claims);
            format!("{verdict:?} {claims:?}")
        };
        for _ in 0..2 {
            let again = verify_with(token, |_| keyring, Some(memory), now);
            assert_eq!(outline(&again), outline(verdict));
        }
    });
}

/// The verdict of `verify`. Checks that `inspect` agrees, that a memory of signatures changes
/// nothing, and that the error shows no part of the token.
pub fn verdict(token: &str, keyring: &Keyring) -> Result<Verified, Error> {
    let verdict = verify(token, keyring, NOW);
    check_memory(token, keyring, NOW, &verdict);
    let steps = inspect(token, keyring, NOW, &PLACES);
    assert_eq!(
        steps.iter().all(|step| step.ok),
        verdict.is_ok(),
        "{steps:?}"
    );
    if let Err(error) = &verdict {
        let reason = error.to_string();
        assert!(
            steps
                .iter()
                .any(|step| !step.ok && step.detail.contains(&reason)),
            "{reason}: {steps:?}"
        );
        let shown = format!("{error} {error:?} {steps:?}");
        let signature = token.rsplit('.').next().unwrap_or_default();
        let is_long = signature.len() > 20 && URL_SAFE_NO_PAD.decode(signature).is_ok();
        assert!(!is_long || !shown.contains(signature));
    }
    verdict
}
