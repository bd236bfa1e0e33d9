//! Tokens that another key could make acceptable: only those may have keys fetched again.

use jwt_verify::{Error, Keyring, Policy, lacks_only_key, verify};
use serde_json::{Value, json};

use crate::common::sign::{ISSUER, NOW, NOW_SECONDS, Signer};

/// The issuer, without a key.
fn keyring(policy: Policy) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add_issuer(ISSUER, policy);
    keyring
}

fn policy() -> Policy {
    Policy {
        audience: Some(vec!["app".to_owned()]),
        ..Policy::default()
    }
}

fn token(header: Value, changes: &Value) -> String {
    let mut payload = json!({"iss": ISSUER, "sub": "u", "aud": "app", "exp": NOW_SECONDS + 60});
    for (name, value) in changes.as_object().unwrap() {
        payload[name] = value.clone();
    }
    Signer::Ed25519.token("EdDSA", &header.to_string(), &payload.to_string())
}

#[test]
fn a_token_that_lacks_only_its_key() {
    let token = token(json!({"alg": "EdDSA", "kid": "new"}), &json!({}));
    assert!(matches!(
        verify(&token, &keyring(policy()), NOW),
        Err(Error::NoKeys { .. } | Error::UnknownKey { .. })
    ));
    assert!(lacks_only_key(&token, &keyring(policy()), NOW));
}

#[test]
fn a_token_that_no_key_makes_acceptable() {
    let header = json!({"alg": "EdDSA", "kid": "new"});
    let claims = [
        json!({"exp": NOW_SECONDS - 3600}),
        json!({"exp": null}),
        json!({"nbf": NOW_SECONDS + 3600}),
        json!({"aud": "another"}),
        json!({"aud": null}),
        json!({"iss": "https://other.example"}),
        json!({"sub": 7}),
    ];
    for changes in &claims {
        let token = token(header.clone(), changes);
        assert!(
            !lacks_only_key(&token, &keyring(policy()), NOW),
            "{changes}"
        );
    }
    let headers = [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "new"}),
        json!({"alg": "EdDSA", "kid": "new", "crit": ["x"]}),
        json!({"alg": "EdDSA", "kid": "new", "typ": "other"}),
    ];
    for header in headers {
        let token = token(header.clone(), &json!({}));
        assert!(!lacks_only_key(&token, &keyring(policy()), NOW), "{header}");
    }
    let token = token(header, &json!({}));
    let disabled = Policy {
        enabled: false,
        ..policy()
    };
    assert!(!lacks_only_key(&token, &keyring(disabled), NOW));
    assert!(!lacks_only_key(&token, &Keyring::new(), NOW));
    assert!(!lacks_only_key("no token", &keyring(policy()), NOW));
}
