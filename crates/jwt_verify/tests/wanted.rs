//! A keyring with only what the token names gives the same verdict as the complete keyring.

use jwt_verify::limits::MAX_KEYS_TRIED;
use jwt_verify::{
    Keyring, Policy, Step, UnixTime, Wanted, inspect, inspect_with, verify, verify_with,
};
use serde_json::json;

use crate::common::PLACES;
use crate::common::cases::all_algorithms;
use crate::common::sign::{ISSUER, NOW, SECOND, Signer, lenient};

/// The content of a keyring.
#[derive(Clone, Default)]
struct Rows {
    issuers: Vec<(String, Policy)>,
    /// Issuer, `kid`, JWK, expiry.
    keys: Vec<(String, Option<String>, String, Option<UnixTime>)>,
}

impl Rows {
    fn issuer(mut self, name: &str, enabled: bool) -> Self {
        let policy = Policy {
            enabled,
            algorithms: all_algorithms(),
            ..lenient()
        };
        self.issuers.push((name.to_owned(), policy));
        self
    }

    fn key(mut self, issuer: &str, kid: Option<&str>, signer: Signer) -> Self {
        let kid = kid.map(str::to_owned);
        let jwk = signer.jwk().to_string();
        self.keys.push((issuer.to_owned(), kid, jwk, None));
        self
    }

    fn expired(mut self, issuer: &str, kid: Option<&str>, signer: Signer) -> Self {
        self = self.key(issuer, kid, signer);
        self.keys.last_mut().unwrap().3 = Some(NOW - SECOND);
        self
    }

    fn everything(&self) -> Keyring {
        let mut keyring = Keyring::new();
        for (name, policy) in &self.issuers {
            keyring.add_issuer(name, policy.clone());
        }
        for (issuer, kid, jwk, expires_at) in &self.keys {
            keyring.add_key(issuer, kid.as_deref(), None, jwk, *expires_at);
        }
        keyring
    }

    /// The part of it that [`Wanted`] describes.
    fn wanted(&self, wanted: Wanted<'_>) -> Keyring {
        let find = |name: &str| self.issuers.iter().find(|(known, _)| known == name);
        let issuer = wanted.issuer.and_then(find).or_else(|| find("*"));
        let Some((name, policy)) = issuer else {
            return Keyring::new();
        };
        let mut part = Self {
            issuers: vec![(name.clone(), policy.clone())],
            keys: Vec::new(),
        };
        let keys = self.keys.iter().filter(|(issuer, kid, ..)| {
            issuer == name && (wanted.key_id.is_none() || kid.as_deref() == wanted.key_id)
        });
        part.keys.extend(keys.take(MAX_KEYS_TRIED + 1).cloned());
        part.everything()
    }
}

fn token(signer: Signer, alg: &str, iss: Option<&str>, kid: Option<&str>) -> String {
    let mut header = json!({"alg": alg});
    let mut payload = json!({"sub": "s"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    if let Some(iss) = iss {
        payload["iss"] = iss.into();
    }
    signer.token(alg, &header.to_string(), &payload.to_string())
}

fn outline(steps: &[Step]) -> Vec<(&'static str, bool)> {
    steps.iter().map(|step| (step.name, step.ok)).collect()
}

#[test]
fn part_and_whole_agree() {
    let other = "https://other.example";
    let some = Rows::default()
        .issuer(ISSUER, true)
        .issuer("https://off.example", false)
        .key(ISSUER, Some("a"), Signer::Ed25519)
        .key(ISSUER, Some("b"), Signer::OtherEd25519)
        .key(ISSUER, Some("b"), Signer::P256)
        .expired(ISSUER, Some("old"), Signer::Ed25519)
        .key("https://off.example", Some("a"), Signer::Ed25519);
    let with_any = some
        .clone()
        .issuer("*", true)
        .key("*", Some("a"), Signer::OtherEd25519)
        .key("*", Some("c"), Signer::Ed25519);
    let nameless = Rows::default()
        .issuer(ISSUER, true)
        .key(ISSUER, None, Signer::Ed25519)
        .expired(ISSUER, None, Signer::OtherEd25519);
    let mut many = Rows::default().issuer(ISSUER, true).issuer(other, true);
    for index in 0..=2 * MAX_KEYS_TRIED {
        many = many.key(ISSUER, Some(&format!("k{index}")), Signer::P384);
    }
    many = many.key(ISSUER, Some("a"), Signer::Ed25519);
    // As many keys as are tried.
    for index in 1..MAX_KEYS_TRIED {
        many = many.key(other, Some(&format!("k{index}")), Signer::P384);
    }
    many = many.key(other, Some("a"), Signer::Ed25519);

    let mut accepted = 0;
    for rows in [Rows::default(), some, with_any, nameless, many] {
        let everything = rows.everything();
        for iss in [
            None,
            Some(ISSUER),
            Some(other),
            Some("https://off.example"),
            Some("*"),
        ] {
            for kid in [None, Some("a"), Some("b"), Some("c"), Some("old"), Some("")] {
                for (signer, alg) in [
                    (Signer::Ed25519, "EdDSA"),
                    (Signer::OtherEd25519, "EdDSA"),
                    (Signer::P256, "ES256"),
                ] {
                    let token = token(signer, alg, iss, kid);
                    let whole = verify(&token, &everything, NOW);
                    let mut asked = Vec::new();
                    let part = verify_with(
                        &token,
                        |wanted| {
                            asked.push((
                                wanted.issuer.map(str::to_owned),
                                wanted.key_id.map(str::to_owned),
                            ));
                            Box::new(rows.wanted(wanted))
                        },
                        None,
                        NOW,
                    );
                    let named = (iss.map(str::to_owned), kid.map(str::to_owned));
                    assert_eq!(asked, [named], "asked for what the token names, once");
                    accepted += usize::from(whole.is_ok());
                    assert_eq!(format!("{whole:?}"), format!("{part:?}"), "{iss:?} {kid:?}");
                    assert_eq!(
                        outline(&inspect(&token, &everything, NOW, &PLACES)),
                        outline(&inspect_with(
                            &token,
                            |wanted| Box::new(rows.wanted(wanted)),
                            NOW,
                            |_| PLACES
                        ))
                    );
                }
            }
        }
    }
    assert!(accepted > 10, "{accepted}");
}

#[test]
fn not_asked_for_what_is_refused_before() {
    let good = token(Signer::Ed25519, "EdDSA", Some(ISSUER), Some("a"));
    for refused in [
        "",
        "a.b",
        "not a token",
        good.trim_end_matches(|ch| ch != '.'),
    ] {
        let verdict = verify_with(refused, |_| -> Box<Keyring> { unreachable!() }, None, NOW);
        assert!(verdict.is_err(), "{refused}");
    }
}

#[test]
fn equal_are_keyrings_that_were_given_the_same() {
    let rows = Rows::default()
        .issuer(ISSUER, true)
        .key(ISSUER, Some("a"), Signer::Ed25519);
    let keyring = rows.everything();
    // Whether the JWK was already admitted at a first use makes no difference.
    let token = token(Signer::Ed25519, "EdDSA", Some(ISSUER), Some("a"));
    assert!(verify(&token, &keyring, NOW).is_ok());
    assert!(keyring == rows.everything());

    let mut changed = vec![
        Rows::default(),
        rows.clone().issuer("*", true),
        rows.clone().key(ISSUER, Some("b"), Signer::P256),
        Rows::default().issuer(ISSUER, true),
        Rows::default()
            .issuer(ISSUER, true)
            .key(ISSUER, None, Signer::Ed25519),
        Rows::default()
            .issuer(ISSUER, true)
            .key(ISSUER, Some("b"), Signer::Ed25519),
        Rows::default()
            .issuer(ISSUER, true)
            .key(ISSUER, Some("a"), Signer::OtherEd25519),
        Rows::default()
            .issuer(ISSUER, true)
            .expired(ISSUER, Some("a"), Signer::Ed25519),
    ];
    let changes: [fn(&mut Policy); 8] = [
        |policy| policy.enabled = false,
        |policy| policy.audience = Some(vec!["a".to_owned()]),
        |policy| policy.algorithms = jwt_verify::AlgorithmSet::ASYMMETRIC,
        |policy| policy.required_claims = vec!["jti".to_owned()],
        |policy| policy.leeway += SECOND,
        |policy| policy.max_age = Some(SECOND),
        |policy| policy.token_types = Some(Vec::new()),
        |policy| policy.bound_tokens = jwt_verify::BoundTokens::Accept,
    ];
    for change in changes {
        let mut rows = rows.clone();
        change(&mut rows.issuers[0].1);
        changed.push(rows);
    }
    for rows in changed {
        assert!(keyring != rows.everything());
    }
    // The `alg` that is given beside the key.
    let mut pinned = Rows::default().issuer(ISSUER, true).everything();
    let jwk = Signer::Ed25519.jwk().to_string();
    pinned.add_key(ISSUER, Some("a"), Some("EdDSA"), &jwk, None);
    assert!(keyring != pinned);
}
