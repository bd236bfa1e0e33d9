//! A memory of signatures: what it spares, and that it changes no verdict.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use jwt_verify::cross_check::{signature_checks, words};
use jwt_verify::{
    Bucket, ErrorKind, Keyring, Policy, SignatureMemory, UnixTime, verify, verify_with,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use crate::common::cases::all_algorithms;
use crate::common::harness::{SECRET, any_memory};
use crate::common::sign::{ISSUER, NOW, NOW_SECONDS, SECOND, Signer, algorithms, lenient};

/// Every key, each with an algorithm of its own.
fn algorithms_of_all() -> impl Iterator<Item = (Signer, &'static str)> {
    Signer::ALL
        .into_iter()
        .map(|signer| (signer, signer.algorithms()[0]))
}

fn buckets(count: usize) -> Vec<Bucket> {
    (0..count).map(|_| Bucket::empty()).collect()
}

fn policy() -> Policy {
    Policy {
        algorithms: all_algorithms(),
        ..lenient()
    }
}

/// [`ISSUER`] with this key under the `kid` "k".
fn keyring(policy: Policy, jwk: &str, expires_at: Option<UnixTime>) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add_issuer(ISSUER, policy);
    assert!(keyring.add_key(ISSUER, Some("k"), None, jwk, expires_at));
    keyring
}

fn keyring_of(signer: Signer) -> Keyring {
    keyring(policy(), &signer.jwk().to_string(), None)
}

fn token(signer: Signer, alg: &str, sub: &str) -> String {
    let header = json!({"alg": alg, "kid": "k"}).to_string();
    let payload =
        json!({"iss": ISSUER, "sub": sub, "aud": "a", "exp": NOW_SECONDS + 60}).to_string();
    signer.token(alg, &header, &payload)
}

/// Whether the token is accepted, and the number of signatures that were checked for it.
fn checks(token: &str, keyring: &Keyring, memory: &SignatureMemory) -> (bool, usize) {
    let before = signature_checks();
    let verdict = verify_with(token, |_| keyring, Some(memory), NOW);
    let checks = signature_checks() - before;
    if let Ok(verified) = &verdict {
        assert_eq!(verified.from_memory, checks == 0);
    }
    (verdict.is_ok(), checks)
}

fn is_empty(buckets: &[Bucket]) -> bool {
    buckets
        .iter()
        .flat_map(words)
        .all(|word| word.load(Relaxed) == 0)
}

#[test]
fn a_good_signature_is_checked_once() {
    for (signer, alg) in algorithms_of_all() {
        let buckets = buckets(4);
        let memory = SignatureMemory::new(&buckets, &SECRET);
        let (keyring, token) = (keyring_of(signer), token(signer, alg, "alice"));
        assert_eq!(checks(&token, &keyring, &memory), (true, 1), "{alg}");
        // Another process, with the same buckets and the same secret.
        let memory = SignatureMemory::new(&buckets, &SECRET);
        let is_remembered = signer != Signer::Secret;
        assert_eq!(
            checks(&token, &keyring, &memory),
            (true, usize::from(!is_remembered)),
            "{alg}"
        );
        assert_eq!(is_empty(&buckets), !is_remembered, "{alg}");
    }
}

#[test]
fn a_bad_signature_is_never_noted() {
    let buckets = buckets(4);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    for (signer, alg) in algorithms_of_all() {
        let (alice, bob) = (token(signer, alg, "alice"), token(signer, alg, "bob"));
        let (signed, _) = alice.rsplit_once('.').unwrap();
        let (_, signature) = bob.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{signature}");
        for _ in 0..2 {
            assert_eq!(
                checks(&forged, &keyring_of(signer), &memory),
                (false, 1),
                "{alg}"
            );
        }
    }
    assert!(is_empty(&buckets));
}

#[test]
fn a_signature_is_that_of_one_key_algorithm_and_text() {
    let buckets = buckets(64);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    for alg in ["RS256", "RS384", "PS256"] {
        let token = token(Signer::Rsa, alg, "alice");
        assert_eq!(
            checks(&token, &keyring_of(Signer::Rsa), &memory),
            (true, 1),
            "{alg}"
        );
    }
    let token = token(Signer::Ed25519, "EdDSA", "alice");
    assert_eq!(
        checks(&token, &keyring_of(Signer::Ed25519), &memory),
        (true, 1)
    );
    // Another key under the same key id.
    let other = keyring_of(Signer::OtherEd25519);
    assert_eq!(checks(&token, &other, &memory), (false, 1));
    // The same signature once more, under another secret.
    let secret = [1; 32];
    let stranger = SignatureMemory::new(&buckets, &secret);
    assert_eq!(
        checks(&token, &keyring_of(Signer::Ed25519), &stranger),
        (true, 1)
    );
}

#[test]
fn the_rules_hold_for_a_known_signature() {
    let buckets = buckets(64);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let token = token(Signer::Rsa, "RS256", "alice");
    let jwk = Signer::Rsa.jwk();
    let with = |name: &str, value: &str| {
        let mut jwk = jwk.clone();
        jwk[name] = value.into();
        jwk.to_string()
    };
    let plain = jwk.to_string();
    let mut without_key = Keyring::new();
    without_key.add_issuer(ISSUER, policy());
    let rules = [
        (Keyring::new(), NOW, ErrorKind::UnknownIssuer),
        (without_key, NOW, ErrorKind::Key),
        (keyring(policy(), &plain, Some(NOW)), NOW, ErrorKind::Key),
        (
            keyring(policy(), &with("alg", "RS512"), None),
            NOW,
            ErrorKind::Algorithm,
        ),
        (
            keyring(policy(), &with("issuer", "https://other.example"), None),
            NOW,
            ErrorKind::Issuer,
        ),
        (
            keyring(
                Policy {
                    algorithms: algorithms(&["ES256"]),
                    ..policy()
                },
                &plain,
                None,
            ),
            NOW,
            ErrorKind::Algorithm,
        ),
        (
            keyring(
                Policy {
                    audience: Some(vec!["b".into()]),
                    ..policy()
                },
                &plain,
                None,
            ),
            NOW,
            ErrorKind::Audience,
        ),
        (
            keyring_of(Signer::Rsa),
            NOW + SECOND * 60,
            ErrorKind::Expired,
        ),
    ];
    assert_eq!(checks(&token, &keyring_of(Signer::Rsa), &memory), (true, 1));
    assert_eq!(checks(&token, &keyring_of(Signer::Rsa), &memory), (true, 0));
    for (keyring, now, kind) in rules {
        let with = verify_with(&token, |_| &keyring, Some(&memory), now).unwrap_err();
        let without = verify(&token, &keyring, now).unwrap_err();
        assert_eq!((with.kind(), with.to_string()), (kind, without.to_string()));
    }
}

#[test]
fn a_full_memory_costs_checks_and_no_verdict() {
    let buckets = buckets(1);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let keyring = keyring_of(Signer::Ed25519);
    let tokens: Vec<_> = (0..100)
        .map(|user| token(Signer::Ed25519, "EdDSA", &format!("user {user}")))
        .collect();
    for token in &tokens {
        assert_eq!(checks(token, &keyring, &memory), (true, 1));
        assert_eq!(checks(token, &keyring, &memory), (true, 0));
    }
    let known = |token: &&String| {
        let probe = SignatureMemory::new(&buckets, &SECRET);
        verify_with(token, |_| &keyring, Some(&probe), NOW)
            .unwrap()
            .from_memory
    };
    // A token that is not known is noted, and overwrites another: so the last ones first.
    let count = tokens.iter().rev().filter(known).count();
    assert!((1..=4).contains(&count), "{count} of 4 places");

    let nothing = SignatureMemory::new(&[], &SECRET);
    for _ in 0..2 {
        assert_eq!(checks(&tokens[0], &keyring, &nothing), (true, 1));
    }
}

/// As many users as there are places find room, whatever the places had before.
#[test]
fn tokens_that_nobody_uses_give_way() {
    let buckets = buckets(1);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let keyring = keyring_of(Signer::Ed25519);
    let tokens = |name: &str| -> Vec<_> {
        (0..4)
            .map(|user| token(Signer::Ed25519, "EdDSA", &format!("{name} {user}")))
            .collect()
    };
    for former in tokens("former") {
        assert_eq!(checks(&former, &keyring, &memory), (true, 1));
    }
    let present = tokens("present");
    let round = || -> usize {
        let checked = present
            .iter()
            .map(|token| checks(token, &keyring, &memory).1);
        checked.sum()
    };
    assert!((0..20).any(|_| round() == 0));
}

#[test]
fn every_bucket_is_used() {
    let buckets = buckets(16);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let keyring = keyring_of(Signer::Ed25519);
    for user in 0..400 {
        let token = token(Signer::Ed25519, "EdDSA", &format!("user {user}"));
        assert_eq!(checks(&token, &keyring, &memory), (true, 1));
    }
    for bucket in &buckets {
        assert!(words(bucket).all(|word| word.load(Relaxed) != 0));
    }
}

/// Processes write and read the same few places at once. A token with the signature of another is
/// refused by each of them, and a good one is accepted, whatever they see of each other's writes.
#[test]
fn threads_share_the_places() {
    const THREADS: usize = 8;
    let rounds = if cfg!(feature = "aws_lc_rs") { 300 } else { 20 };
    let buckets = buckets(1);
    let keyring = keyring_of(Signer::Ed25519);
    let users: Vec<_> = (0..THREADS)
        .map(|user| token(Signer::Ed25519, "EdDSA", &format!("user {user}")))
        .collect();
    let forged = |signed: usize, signature: usize| {
        let (signed, _) = users[signed].rsplit_once('.').unwrap();
        let (_, signature) = users[signature].rsplit_once('.').unwrap();
        format!("{signed}.{signature}")
    };
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (buckets, keyring, users, forged) = (&buckets, &keyring, &users, &forged);
            scope.spawn(move || {
                let memory = SignatureMemory::new(buckets, &SECRET);
                for turn in 0..rounds {
                    let (a, b) = ((first + turn) % THREADS, (first + turn * 3 + 1) % THREADS);
                    let accepts =
                        |token: &str| verify_with(token, |_| keyring, Some(&memory), NOW).is_ok();
                    assert!(accepts(&users[a]));
                    assert!(a == b || !accepts(&forged(a, b)));
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(feature = "aws_lc_rs") { 100 } else { 3 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn words_of_any_content(steps in vec(any::<[u8; 3]>(), 0..12)) {
        any_memory(&steps);
    }
}

/// The memory is asked before the check, but only about signatures that the check would look at.
#[test]
fn a_signature_of_another_length_is_refused_first() {
    let buckets = buckets(4);
    let memory = SignatureMemory::new(&buckets, &SECRET);
    let (keyring, token) = (
        keyring_of(Signer::P256),
        token(Signer::P256, "ES256", "alice"),
    );
    assert_eq!(checks(&token, &keyring, &memory), (true, 1));
    let short = &token[..token.len() - 4];
    assert_eq!(checks(short, &keyring, &memory), (false, 0));
}
