//! The key that a token is checked with.

use jwt_verify::limits::MAX_KEYS_TRIED;
use jwt_verify::{Error, ErrorKind, Keyring, Policy, UnixTime, Verified, verify};
use serde_json::json;

use crate::common::cases::all_algorithms;
use crate::common::sign::{
    ISSUER, MICRO, NOW, SECOND, Signer, algorithms, encode, lenient, token_with,
};

/// A keyring of [`ISSUER`] without keys.
struct Ring(Keyring);

impl Ring {
    fn new() -> Self {
        Self::with(Policy {
            algorithms: all_algorithms(),
            ..lenient()
        })
    }

    fn with(policy: Policy) -> Self {
        let mut keyring = Keyring::new();
        keyring.add_issuer(ISSUER, policy);
        Self(keyring)
    }

    fn key(self, kid: Option<&str>, alg: Option<&str>, signer: Signer) -> Self {
        self.until(kid, alg, &signer.jwk().to_string(), None)
    }

    fn until(
        mut self,
        kid: Option<&str>,
        alg: Option<&str>,
        jwk: &str,
        expires_at: Option<UnixTime>,
    ) -> Self {
        assert!(self.0.add_key(ISSUER, kid, alg, jwk, expires_at));
        self
    }

    /// The verdict on a token that `signer` signed.
    fn verify(&self, signer: Signer, alg: &str, kid: Option<&str>) -> Result<Verified, Error> {
        self.verify_at(signer, alg, kid, NOW)
    }

    fn verify_at(
        &self,
        signer: Signer,
        alg: &str,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<Verified, Error> {
        let mut header = json!({"alg": alg});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let payload = json!({"iss": ISSUER}).to_string();
        verify(
            &signer.token(alg, &header.to_string(), &payload),
            &self.0,
            now,
        )
    }

    fn refusal(&self, signer: Signer, alg: &str, kid: Option<&str>) -> Error {
        self.verify(signer, alg, kid).unwrap_err()
    }
}

#[test]
fn by_kid_byte_for_byte() {
    let ring = Ring::new()
        .key(Some("a"), None, Signer::Ed25519)
        .key(Some("b"), None, Signer::OtherEd25519)
        .key(None, None, Signer::P256);
    assert!(ring.verify(Signer::Ed25519, "EdDSA", Some("a")).is_ok());
    assert!(
        ring.verify(Signer::OtherEd25519, "Ed25519", Some("b"))
            .is_ok()
    );
    let crossed = ring.refusal(Signer::Ed25519, "EdDSA", Some("b"));
    assert_eq!(crossed.kind(), ErrorKind::Signature);
    for kid in ["A", "a ", "", "ä", "a\u{0301}"] {
        let error = ring.refusal(Signer::Ed25519, "EdDSA", Some(kid));
        assert!(matches!(error, Error::UnknownKey { .. }), "{kid}");
        assert_eq!(error.kind(), ErrorKind::Key);
    }
    // A key without a `kid` does not match every `kid`.
    let error = ring.refusal(Signer::P256, "ES256", Some("c"));
    assert!(matches!(error, Error::UnknownKey { .. }));
}

#[test]
fn one_kid_for_each_type() {
    let ring = Ring::new()
        .key(Some("k"), None, Signer::Ed25519)
        .key(Some("k"), None, Signer::P256)
        .key(Some("k"), None, Signer::Secret);
    for (signer, alg) in [
        (Signer::Ed25519, "EdDSA"),
        (Signer::P256, "ES256"),
        (Signer::Secret, "HS512"),
    ] {
        assert!(ring.verify(signer, alg, Some("k")).is_ok(), "{alg}");
    }
    let error = ring.refusal(Signer::Rsa, "RS256", Some("k"));
    assert!(matches!(error, Error::KeyAlgorithm { .. }));
    assert_eq!(error.kind(), ErrorKind::Algorithm);
    // A second key of a type: neither is used; keys of other types are.
    let ring = ring.key(Some("k"), None, Signer::OtherEd25519);
    for signer in [Signer::Ed25519, Signer::OtherEd25519] {
        let error = ring.refusal(signer, "EdDSA", Some("k"));
        assert!(matches!(error, Error::AmbiguousKey { .. }));
        assert_eq!(error.kind(), ErrorKind::Key);
    }
    assert!(ring.verify(Signer::P256, "ES256", Some("k")).is_ok());
}

/// RFC 7517 §4.5 asks for different names of different keys, and allows several of one.
#[test]
fn one_key_counts_under_each_of_its_names() {
    for (first, second) in [
        (Some(""), Some("abc")),
        (None, Some("abc")),
        (Some("old"), Some("abc")),
        (Some("abc"), Some("abc")),
    ] {
        for (first_alg, second_alg) in [(None, None), (Some("PS256"), Some("RS256"))] {
            let ring =
                Ring::new()
                    .key(first, first_alg, Signer::Rsa)
                    .key(second, second_alg, Signer::Rsa);
            for (kid, alg) in [(first, first_alg), (second, second_alg)] {
                for kid in [kid, None] {
                    let alg = alg.unwrap_or("RS256");
                    assert!(ring.verify(Signer::Rsa, alg, kid).is_ok(), "{kid:?} {alg}");
                }
            }
            let unknown = ring.refusal(Signer::Rsa, "RS256", Some("other"));
            assert!(matches!(unknown, Error::UnknownKey { .. }));
            if first_alg.is_some() {
                let error = ring.refusal(Signer::Rsa, "RS512", None);
                assert!(matches!(error, Error::KeyAlgorithm { .. }));
                // A name that is for one algorithm is not for the others of the key.
                if first.is_some() && first != second {
                    let error = ring.refusal(Signer::Rsa, "RS256", first);
                    assert!(matches!(error, Error::KeyAlgorithm { .. }));
                }
            }
        }
    }
    // A second key makes it a doubt again, whatever the first one is called.
    let ring = Ring::new()
        .key(Some("a"), None, Signer::Ed25519)
        .key(Some("b"), None, Signer::Ed25519)
        .key(Some("c"), None, Signer::OtherEd25519);
    let error = ring.refusal(Signer::Ed25519, "EdDSA", None);
    assert!(matches!(error, Error::AmbiguousKey { .. }));
    let ring = ring.key(Some("a"), None, Signer::OtherEd25519);
    for (signer, kid) in [(Signer::Ed25519, "a"), (Signer::OtherEd25519, "a")] {
        let error = ring.refusal(signer, "EdDSA", Some(kid));
        assert!(matches!(error, Error::AmbiguousKey { .. }));
    }
    assert!(ring.verify(Signer::Ed25519, "EdDSA", Some("b")).is_ok());
}

#[test]
fn one_key_is_good_until_its_last_name_ends() {
    let jwk = Signer::Ed25519.jwk().to_string();
    let (soon, later) = (NOW + SECOND, NOW + 2 * SECOND);
    for (first, second) in [(soon, later), (later, soon)] {
        let ring = Ring::new().until(Some("a"), None, &jwk, Some(first)).until(
            Some("b"),
            None,
            &jwk,
            Some(second),
        );
        let at = |kid, now| ring.verify_at(Signer::Ed25519, "EdDSA", kid, now);
        assert_eq!(at(None, NOW).unwrap().valid_until, later);
        assert_eq!(at(Some("a"), NOW).unwrap().valid_until, first);
        assert!(at(None, soon).is_ok());
        assert!(at(None, later).is_err());
    }
}

#[test]
fn one_key_for_two_issuers_is_a_doubt() {
    let jwk = |issuer: &str| Signer::Ed25519.jwk_with(json!({"issuer": issuer}));
    let ring = Ring::new()
        .until(Some("a"), None, &jwk(ISSUER), None)
        .until(Some("b"), None, &jwk("https://other.example"), None);
    assert!(ring.verify(Signer::Ed25519, "EdDSA", Some("a")).is_ok());
    let error = ring.refusal(Signer::Ed25519, "EdDSA", Some("b"));
    assert!(matches!(error, Error::KeyIssuer { .. }));
    let error = ring.refusal(Signer::Ed25519, "EdDSA", None);
    assert!(matches!(error, Error::AmbiguousKey { .. }));
}

#[test]
fn without_kid_the_only_key_for_the_algorithm() {
    let ring = Ring::new().key(Some("a"), None, Signer::Ed25519);
    assert!(ring.verify(Signer::Ed25519, "EdDSA", None).is_ok());
    let ring = ring
        .key(None, None, Signer::P256)
        .key(None, Some("PS256"), Signer::Rsa);
    assert!(ring.verify(Signer::Ed25519, "EdDSA", None).is_ok());
    assert!(ring.verify(Signer::P256, "ES256", None).is_ok());
    assert!(ring.verify(Signer::Rsa, "PS256", None).is_ok());
    let error = ring.refusal(Signer::Rsa, "RS256", None);
    assert!(matches!(error, Error::KeyAlgorithm { kid: None, .. }));
    assert_eq!(error.kind(), ErrorKind::Algorithm);
    let ring = ring.key(Some("b"), None, Signer::OtherEd25519);
    let error = ring.refusal(Signer::Ed25519, "EdDSA", None);
    assert!(matches!(error, Error::AmbiguousKey { kid: None, .. }));
    let error = Ring::new().refusal(Signer::Ed25519, "EdDSA", None);
    assert!(matches!(error, Error::NoKeys { .. }));
    assert_eq!(error.kind(), ErrorKind::Key);
}

#[test]
fn without_kid_only_among_a_few_keys() {
    let mut ring = Ring::new().key(None, None, Signer::Ed25519);
    let other = Signer::P256.jwk().to_string();
    for index in 1..MAX_KEYS_TRIED {
        ring = ring.until(Some(&index.to_string()), None, &other, None);
    }
    assert!(ring.verify(Signer::Ed25519, "EdDSA", None).is_ok());
    ring = ring.until(Some("one more"), None, &other, None);
    assert_eq!(
        ring.refusal(Signer::Ed25519, "EdDSA", None),
        Error::MissingKeyId
    );
    assert!(ring.verify(Signer::P256, "ES256", Some("one more")).is_ok());
}

#[test]
fn the_algorithm_is_the_keys() {
    // The table's alg wins over the JWK's, which wins over the type's.
    let stated = Signer::Rsa.jwk_with(json!({"alg": "RS256"}));
    let ring = Ring::new()
        .until(Some("column"), Some("RS512"), &stated, None)
        .until(Some("jwk"), None, &stated, None)
        .key(Some("type"), None, Signer::Rsa);
    for (kid, takes) in [
        ("column", &["RS512"][..]),
        ("jwk", &["RS256"]),
        ("type", Signer::Rsa.algorithms()),
    ] {
        for alg in Signer::Rsa.algorithms() {
            let verdict = ring.verify(Signer::Rsa, alg, Some(kid));
            match takes.contains(alg) {
                true => assert!(verdict.is_ok(), "{kid} {alg}"),
                false => {
                    let error = verdict.unwrap_err();
                    assert!(matches!(error, Error::KeyAlgorithm { .. }), "{kid} {alg}");
                }
            }
        }
    }
    // EdDSA and Ed25519 are the same algorithm, in the JWK or in the column.
    for name in ["EdDSA", "Ed25519"] {
        let ring = Ring::new().key(Some("k"), Some(name), Signer::Ed25519);
        assert!(ring.verify(Signer::Ed25519, "EdDSA", Some("k")).is_ok());
        assert!(ring.verify(Signer::Ed25519, "Ed25519", Some("k")).is_ok());
    }
    // If the key cannot be used with the column's algorithm, it counts as absent.
    let ring = Ring::new().key(Some("k"), Some("ES256"), Signer::Ed25519);
    let error = ring.refusal(Signer::Ed25519, "EdDSA", Some("k"));
    assert!(matches!(error, Error::UnknownKey { .. }));
}

#[test]
fn within_the_issuers_algorithms() {
    let policy = |names: &[&str]| Policy {
        algorithms: algorithms(names),
        ..lenient()
    };
    let ring = Ring::with(policy(&["PS256"])).key(Some("k"), None, Signer::Rsa);
    assert!(ring.verify(Signer::Rsa, "PS256", Some("k")).is_ok());
    for kid in [Some("k"), None, Some("unknown")] {
        let error = ring.refusal(Signer::Rsa, "RS256", kid);
        assert!(matches!(error, Error::AlgorithmNotAllowed { .. }));
        assert_eq!(error.kind(), ErrorKind::Algorithm);
    }
    // A shared secret where no HMAC algorithm is named counts as absent.
    let ring = Ring::with(policy(&["RS256", "EdDSA"])).key(Some("k"), None, Signer::Secret);
    assert!(ring.verify(Signer::Secret, "HS256", Some("k")).is_err());
    let error = ring.refusal(Signer::Ed25519, "EdDSA", Some("k"));
    assert!(matches!(error, Error::UnknownKey { .. }));
    let ring = Ring::with(policy(&["HS512"])).key(Some("k"), None, Signer::Secret);
    assert!(ring.verify(Signer::Secret, "HS512", Some("k")).is_ok());
    assert!(ring.verify(Signer::Secret, "HS256", Some("k")).is_err());
    // A public key is never used as a secret, even where HMAC is allowed.
    for signer in [Signer::Ed25519, Signer::P256, Signer::Rsa] {
        let ring = Ring::new().key(Some("k"), None, signer);
        for kid in [Some("k"), None] {
            let error = ring.refusal(Signer::Secret, "HS256", kid);
            assert!(matches!(error, Error::KeyAlgorithm { .. }));
        }
    }
}

#[test]
fn keys_expire() {
    let jwk = Signer::Ed25519.jwk().to_string();
    let ring = |expires_at| Ring::new().until(Some("k"), None, &jwk, expires_at);
    let ending = ring(Some(NOW + SECOND));
    let verified = ending.verify(Signer::Ed25519, "EdDSA", Some("k")).unwrap();
    assert_eq!(verified.valid_until, NOW + SECOND);
    let unending = ring(None)
        .verify(Signer::Ed25519, "EdDSA", Some("k"))
        .unwrap();
    assert_eq!(unending.valid_until, UnixTime::MAX);
    for kid in [Some("k"), None] {
        assert!(
            ring(Some(NOW + MICRO))
                .verify(Signer::Ed25519, "EdDSA", kid)
                .is_ok()
        );
        let error = ring(Some(NOW)).refusal(Signer::Ed25519, "EdDSA", kid);
        assert_eq!(error.kind(), ErrorKind::Key);
    }
    let error = ring(Some(NOW)).refusal(Signer::Ed25519, "EdDSA", Some("k"));
    assert!(matches!(error, Error::ExpiredKey { expired, .. } if expired == NOW));
    let error = ring(Some(NOW)).refusal(Signer::Ed25519, "EdDSA", None);
    assert!(matches!(error, Error::NoKeys { .. }));
    let never = ring(Some(UnixTime::MIN)).refusal(Signer::Ed25519, "EdDSA", Some("k"));
    assert_eq!(never.to_string(), "key \"k\" is not used since -infinity");
}

#[test]
fn an_expired_key_gives_way() {
    // A key is rotated under the same name: while both keys are valid neither is used, and the
    // answer does not claim to be valid for that time.
    let old = Signer::OtherEd25519.jwk().to_string();
    for kid in [Some("k"), None] {
        let ring = Ring::new().key(Some("k"), None, Signer::Ed25519).until(
            Some("k"),
            None,
            &old,
            Some(NOW),
        );
        let verified = ring.verify(Signer::Ed25519, "EdDSA", kid).unwrap();
        assert_eq!(verified.valid_from, NOW);
        let before = ring.verify_at(Signer::Ed25519, "EdDSA", kid, NOW - MICRO);
        assert!(matches!(before, Err(Error::AmbiguousKey { .. })));
    }
}

#[test]
fn a_key_that_is_not_admissible_is_as_if_absent() {
    for bad in ["", "{", "[]", "{\"kty\":\"RSA\"}"] {
        let ring =
            Ring::new()
                .until(Some("k"), None, bad, None)
                .key(Some("k"), None, Signer::Ed25519);
        assert!(ring.verify(Signer::Ed25519, "EdDSA", Some("k")).is_ok());
        assert!(ring.verify(Signer::Ed25519, "EdDSA", None).is_ok());
        let ring = Ring::new().until(Some("k"), None, bad, None);
        let error = ring.refusal(Signer::Ed25519, "EdDSA", Some("k"));
        assert!(matches!(error, Error::UnknownKey { .. }));
    }
}

/// Such a key may have been stored before the rule, or by a restore that disabled the triggers.
#[test]
fn a_stored_key_whose_private_half_is_published_is_as_if_absent() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ed25519_dalek::{Signer as _, SigningKey};

    // RFC 8037 A.1: the private half, from which the public one follows.
    let seed = URL_SAFE_NO_PAD
        .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
        .unwrap();
    let signing = SigningKey::from_bytes(&seed.try_into().unwrap());
    let public = encode(signing.verifying_key().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": public}).to_string();
    for (kid, key_is_found) in [(Some("k"), "no key with"), (None, "no usable key")] {
        let ring = Ring::new().until(Some("k"), None, &jwk, None);
        let mut header = json!({"alg": "EdDSA"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let payload = json!({"iss": ISSUER, "sub": "anyone"}).to_string();
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(payload.as_bytes())
        );
        let signature = encode(&signing.sign(signed.as_bytes()).to_bytes());
        let error = verify(&format!("{signed}.{signature}"), &ring.0, NOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains(key_is_found), "{error}");
    }
}

#[test]
fn an_issuers_keys_are_its_own() {
    let jwk = Signer::Ed25519.jwk().to_string();
    let mut keyring = Keyring::new();
    assert!(keyring.is_empty());
    keyring.add_issuer(ISSUER, lenient());
    keyring.add_issuer("https://other.example", lenient());
    keyring.add_issuer("*", lenient());
    assert!(keyring.is_empty());
    keyring.add_key("https://other.example", Some("k"), None, &jwk, None);
    keyring.add_key("*", Some("k"), None, &jwk, None);
    assert!(!keyring.is_empty());
    // Its own row has no key, and another issuer's is not used.
    let error = verify(&token_with(json!({})), &keyring, NOW).unwrap_err();
    assert!(matches!(error, Error::UnknownKey { .. }));
    // An issuer that is added again starts without keys.
    keyring.add_issuer("https://other.example", lenient());
    let token = token_with(json!({"iss": "https://other.example"}));
    assert_eq!(
        verify(&token, &keyring, NOW).unwrap_err().kind(),
        ErrorKind::Key
    );
}

#[test]
fn a_keyring_can_be_shared() {
    fn assert_shareable<T: Send + Sync>() {}
    assert_shareable::<Keyring>();
    assert_shareable::<Error>();
    assert_shareable::<Verified>();
}

/// A backend goes on with the keys that it knows while a table is locked, if no rule has changed.
#[test]
fn rules_are_the_same_whatever_the_keys() {
    let ring = |issuers: &[(&str, Policy)]| {
        let mut keyring = Keyring::new();
        for (issuer, policy) in issuers {
            keyring.add_issuer(issuer, policy.clone());
        }
        keyring
    };
    let (own, other) = (lenient(), Policy::default());
    assert_ne!(own, other);
    let one = ring(&[(ISSUER, own.clone())]);
    let two = ring(&[(ISSUER, own.clone()), ("https://b.example", own.clone())]);
    let with_key = Ring::with(own.clone()).key(Some("a"), None, Signer::Ed25519);
    assert!(one.has_rules_of(&with_key.0) && with_key.0.has_rules_of(&one));
    assert!(two.has_rules_of(&ring(&[
        ("https://b.example", own.clone()),
        (ISSUER, own.clone())
    ])));
    assert!(!one.has_rules_of(&two) && !two.has_rules_of(&one));
    assert!(!one.has_rules_of(&ring(&[(ISSUER, other)])));
    assert!(!one.has_rules_of(&ring(&[("https://b.example", own)])));
    assert!(!one.has_rules_of(&Keyring::new()) && !Keyring::new().has_rules_of(&one));
}

#[test]
fn a_token_is_asked_about_the_row_of_its_issuer_or_else_the_row_for_any() {
    let named = Ring::new().0;
    assert_eq!(named.issuer_for(Some(ISSUER)), Some(ISSUER));
    assert_eq!(named.issuer_for(Some("https://other.example")), None);
    assert_eq!(named.issuer_for(None), None);
    let mut both = named;
    both.add_issuer("*", lenient());
    assert_eq!(both.issuer_for(Some(ISSUER)), Some(ISSUER));
    assert_eq!(both.issuer_for(Some("https://other.example")), Some("*"));
    assert_eq!(both.issuer_for(None), Some("*"));
}

#[test]
fn audiences_are_those_of_the_issuers_row() {
    let of = |names: &[&str]| Policy {
        audience: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..Policy::default()
    };
    let mut keyring = Keyring::new();
    keyring.add_issuer("a", of(&["x", "y"]));
    keyring.add_issuer("b", Policy::default());
    assert_eq!(keyring.audience(Some("a")).map(<[_]>::len), Some(2));
    assert_eq!(keyring.audience(Some("b")), None);
    assert_eq!(keyring.audience(Some("c")), None);
    keyring.add_issuer("*", of(&["z"]));
    // The row of that very name comes first, whatever it says.
    assert_eq!(keyring.audience(Some("b")), None);
    assert_eq!(keyring.audience(Some("c")).map(<[_]>::len), Some(1));
}
