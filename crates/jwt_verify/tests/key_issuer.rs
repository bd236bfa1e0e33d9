//! Keys that state whose tokens they may sign, as Microsoft Entra ID's do.

use jwt_verify::{
    Error, ErrorKind, Key, KeyError, Keyring, Policy, Verified, advice, inspect, lacks_only_key,
    read_jwks, verify,
};
use serde_json::{Value, json};

use crate::common::PLACES;
use crate::common::cases::all_algorithms;
use crate::common::sign::{NOW, Signer, lenient};

const OURS: &str = "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0";
const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const CONSUMERS: &str =
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn policy() -> Policy {
    Policy {
        algorithms: all_algorithms(),
        ..lenient()
    }
}

/// The issuer of this name, whose only key states `bound`.
fn keyring(name: &str, signer: Signer, bound: &str) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add_issuer(name, policy());
    let jwk = signer.jwk_with(json!({"issuer": bound}));
    assert!(keyring.add_key(name, Some("k"), None, &jwk, None));
    keyring
}

fn token(signer: Signer, alg: &str, claims: &Value) -> String {
    let header = json!({"alg": alg, "kid": "k"}).to_string();
    signer.token(alg, &header, &claims.to_string())
}

fn check(keyring: &Keyring, signer: Signer, alg: &str, claims: &Value) -> Result<Verified, Error> {
    let token = token(signer, alg, claims);
    let verdict = verify(&token, keyring, NOW);
    let steps = inspect(&token, keyring, NOW, &PLACES);
    let is_told = match &verdict {
        Ok(_) => steps.iter().all(|step| step.ok),
        Err(error) => steps
            .iter()
            .any(|step| !step.ok && step.detail.contains(&error.to_string())),
    };
    assert!(is_told, "{verdict:?}: {steps:#?}");
    verdict
}

#[test]
fn another_tenants_key_signs_no_token_of_ours() {
    for (signer, alg) in [
        (Signer::Rsa, "RS256"),
        (Signer::P256, "ES256"),
        (Signer::P521, "ES512"),
        (Signer::Ed25519, "EdDSA"),
        (Signer::Secret, "HS256"),
    ] {
        let claims = json!({"iss": OURS, "tid": TENANT, "sub": "u"});
        assert!(check(&keyring(OURS, signer, TEMPLATE), signer, alg, &claims).is_ok());
        assert!(check(&keyring(OURS, signer, OURS), signer, alg, &claims).is_ok());
        let error = check(&keyring(OURS, signer, CONSUMERS), signer, alg, &claims).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Issuer);
        assert_eq!(
            error.to_string(),
            format!("key \"k\" is for tokens of issuer \"{CONSUMERS}\" alone")
        );
        let told = advice("", &error, &PLACES);
        assert!(told.is_some_and(|told| told.contains("\"tid\"")));
    }
}

#[test]
fn a_template_needs_the_tokens_tenant() {
    let check = |claims: Value| {
        let ring = keyring(OURS, Signer::Ed25519, TEMPLATE);
        check(&ring, Signer::Ed25519, "EdDSA", &claims)
    };
    assert!(check(json!({"iss": OURS, "tid": TENANT})).is_ok());
    let wild = "aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0\0".replace('\0', "");
    for tid in [
        json!(null),
        json!(7),
        json!([TENANT]),
        json!({TENANT: 1}),
        json!(""),
        json!("{tenantid}"),
        json!("*"),
        json!("%"),
        json!(".*"),
        json!(TENANT.to_uppercase()),
        json!(format!(" {TENANT}")),
        json!(wild),
        json!("../".repeat(10_000)),
        json!("9188040d-6c67-4c5b-b112-36a304b66dad"),
    ] {
        let error = check(json!({"iss": OURS, "tid": tid})).unwrap_err();
        assert!(matches!(error, Error::KeyIssuer { .. }), "{tid:.40}");
        assert!(error.to_string().len() < 300);
    }
    assert!(matches!(
        check(json!({"iss": OURS})),
        Err(Error::KeyIssuer { .. })
    ));
}

#[test]
fn any_issuer_is_not_any_key() {
    let ring = keyring("*", Signer::Ed25519, TEMPLATE);
    let check = |claims: Value| check(&ring, Signer::Ed25519, "EdDSA", &claims);
    assert!(check(json!({"iss": OURS, "tid": TENANT})).is_ok());
    for claims in [
        json!({"iss": CONSUMERS, "tid": TENANT}),
        json!({"iss": "https://auth.example.com", "tid": TENANT}),
        json!({"iss": TEMPLATE, "tid": TENANT}),
        json!({"tid": TENANT}),
        json!({}),
    ] {
        assert!(matches!(check(claims), Err(Error::KeyIssuer { .. })));
    }
}

/// The signature is looked at first: a forged token tells nothing of a key's issuer.
#[test]
fn only_a_genuine_token_is_told_of_the_keys_issuer() {
    let ring = keyring(OURS, Signer::Ed25519, CONSUMERS);
    let claims = json!({"iss": OURS, "tid": TENANT, "exp": 1});
    let genuine = token(Signer::Ed25519, "EdDSA", &claims);
    let error = verify(&genuine, &ring, NOW).unwrap_err();
    assert!(matches!(error, Error::KeyIssuer { .. }));
    let forged = token(Signer::OtherEd25519, "EdDSA", &claims);
    let error = verify(&forged, &ring, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signature);
    assert!(!error.to_string().contains("9188040d"));
    // No other key could make it acceptable here, but a set without the member could.
    let claims = json!({"iss": OURS, "tid": TENANT});
    assert!(lacks_only_key(
        &token(Signer::Ed25519, "EdDSA", &claims),
        &ring,
        NOW
    ));
}

#[test]
fn the_member_is_a_string_and_changes_no_thumbprint() {
    let plain = Key::from_jwk(&Signer::Rsa.jwk().to_string(), all_algorithms()).unwrap();
    let bound = Signer::Rsa.jwk_with(json!({"issuer": TEMPLATE}));
    let bound = Key::from_jwk(&bound, all_algorithms()).unwrap();
    assert_eq!(bound.thumbprint(), plain.thumbprint());
    for other in [
        json!(null),
        json!(1),
        json!(true),
        json!([OURS]),
        json!({"a": OURS}),
    ] {
        let jwk = Signer::Rsa.jwk_with(json!({"issuer": other}));
        assert_eq!(
            Key::from_jwk(&jwk, all_algorithms()).unwrap_err(),
            KeyError::MemberType {
                member: "issuer",
                expected: "a string"
            }
        );
        // The other keys of the set are usable.
        let set = format!("{{\"keys\":[{jwk},{}]}}", Signer::P256.jwk());
        let entries = read_jwks(&set, all_algorithms()).unwrap();
        let usable: Vec<_> = entries.iter().map(|entry| entry.key.is_ok()).collect();
        assert_eq!(usable, [false, true]);
    }
}

#[test]
fn a_key_without_the_member_signs_for_its_issuer() {
    let mut ring = Keyring::new();
    ring.add_issuer(OURS, policy());
    ring.add_key(
        OURS,
        Some("k"),
        None,
        &Signer::Ed25519.jwk().to_string(),
        None,
    );
    for claims in [json!({"iss": OURS}), json!({"iss": OURS, "tid": "another"})] {
        assert!(check(&ring, Signer::Ed25519, "EdDSA", &claims).is_ok());
    }
}
