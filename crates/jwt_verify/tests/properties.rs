//! Properties of any input; the bodies are in `common/harness.rs`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jwt_verify::{BoundTokens, Policy, verify};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

use crate::common::harness;
use crate::common::sign::{
    ISSUER, MICRO, NOW, NOW_SECONDS, SECOND, Signer, encode, keyring_with, lenient, token_with,
};

fn config(cases: u32) -> ProptestConfig {
    // In a debug build RustCrypto takes up to half a second for a signature.
    let divisor = if cfg!(feature = "aws_lc_rs") { 1 } else { 5 };
    ProptestConfig {
        cases: cases / divisor,
        // Writes no files beside the sources; a failure prints its input.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn signers() -> impl Strategy<Value = (Signer, &'static str)> {
    prop::sample::select(Signer::ALL.to_vec())
        .prop_flat_map(|signer| (Just(signer), prop::sample::select(signer.algorithms())))
}

/// JSON texts, mostly valid, with the names that the rules read and values at the limits.
fn objects(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "0",
            "-1",
            "1767225600",
            "1767225600.000001",
            "1e308",
            "1e400",
            "-1e308",
            "1e-1001",
            "18446744073709551616",
            "\"\"",
            "\"k\"",
            "\"ed25519\"",
            "\"EdDSA\"",
            "\"none\"",
            "\"sig\"",
            "\"verify\"",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "{}",
            "[]",
            "[\"a\"]",
            "[\"verify\"]",
            "[[1]]",
            "{\"exp\":1,\"exp\":2}",
            "01",
            "NaN",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| json!(number).to_string()),
        any::<String>().prop_map(|text| json!(text).to_string()),
        vec(any::<u8>(), 0..80).prop_map(|bytes| format!("\"{}\"", encode(&bytes))),
        (1usize..200).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
    ];
    let name = prop_oneof![
        8 => prop::sample::select(names).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    vec((name, scalar), 0..8).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

const HEADER: &[&str] = &["alg", "kid", "typ", "crit", "b64", "jwk"];
const CLAIMS: &[&str] = &["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf"];
const JWK: &[&str] = &[
    "kty", "crv", "x", "y", "n", "e", "k", "kid", "alg", "use", "key_ops", "d",
];

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn any_bytes_as_a_token(bytes in vec(any::<u8>(), 0..400)) {
        harness::any_token(&bytes);
    }

    #[test]
    fn any_text_as_a_token(text in "[A-Za-z0-9_.=+/{}\" -]{0,300}") {
        harness::any_token(text.as_bytes());
    }

    #[test]
    fn any_bytes_as_header_and_claims(bytes in vec(any::<u8>(), 0..300)) {
        harness::any_header(&bytes);
        harness::any_claims(&bytes);
    }

    #[test]
    fn any_object_as_a_header(text in objects(HEADER)) {
        harness::any_header(text.as_bytes());
        let full = text.replacen('{', "{\"alg\":\"EdDSA\",\"kid\":\"ed25519\",", 1);
        harness::any_header(full.replace(",}", "}").as_bytes());
    }

    #[test]
    fn any_object_as_claims(text in objects(CLAIMS)) {
        harness::any_claims(text.as_bytes());
    }

    #[test]
    fn any_bytes_as_a_jwk(bytes in vec(any::<u8>(), 0..300)) {
        harness::any_jwk(&bytes);
        harness::any_jwks(&bytes);
    }

    #[test]
    fn any_object_as_a_jwk(text in objects(JWK), base in prop::sample::select(Signer::ALL.to_vec())) {
        harness::any_jwk(text.as_bytes());
        // A good key with members added before its own.
        let good = base.jwk().to_string();
        let mixed = format!("{},{}", text.trim_end_matches('}'), &good[1..]).replace("{,", "{");
        harness::any_jwk(mixed.as_bytes());
        harness::any_jwks(format!("{{\"keys\":[{text},{mixed},{good},{good}]}}").as_bytes());
    }
}

/// Any rules that an issuer may have on claims and types.
fn policies() -> impl Strategy<Value = Policy> {
    let names = || prop::sample::subsequence(vec!["a".to_owned(), "JWT".to_owned()], 0..=2);
    let required = vec!["exp", "iss", "aud", "sub", "iat", "jti", "other"];
    let lengths = prop::sample::select(vec![Duration::ZERO, MICRO, 60 * SECOND, Duration::MAX]);
    (
        prop::option::of(names()),
        prop::sample::subsequence(required, 0..=3),
        lengths.clone(),
        prop::option::of(lengths),
        prop::option::of(names()),
        prop::sample::select(vec![BoundTokens::Refuse, BoundTokens::Accept]),
    )
        .prop_map(
            |(audience, required, leeway, max_age, token_types, bound_tokens)| Policy {
                audience,
                required_claims: required.into_iter().map(str::to_owned).collect(),
                leeway,
                max_age,
                token_types,
                bound_tokens,
                ..Policy::default()
            },
        )
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn verify_refuses_just_where_inspect_has_a_step_that_is_not_ok(
        policy in policies(),
        claims in objects(CLAIMS),
        header in objects(HEADER),
        change_header in any::<bool>(),
        changes in vec(changes(), 0..2),
    ) {
        let keyring = keyring_with(Signer::Ed25519, policy);
        let good_header = r#"{"alg":"EdDSA","kid":"k"}"#;
        let header = if change_header {
            good_header.replace('}', ",") + header.trim_start_matches('{')
        } else {
            good_header.to_owned()
        };
        let header = header.replace(",}", "}");
        let payload = claims.replacen('{', &format!("{{\"iss\":\"{ISSUER}\","), 1);
        for payload in [claims, payload.replace(",}", "}")] {
            let token = Signer::Ed25519.token("EdDSA", &header, &payload);
            let changed = changes
                .iter()
                .try_fold(token.clone(), |token, next| change(&token, next));
            for token in [Some(token), changed].into_iter().flatten() {
                // Compares the two.
                let _ = harness::verdict(&token, &keyring);
            }
        }
    }
}

/// The ways to change a token.
#[derive(Clone, Debug)]
enum Change {
    FlipBit(prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, char),
    SwapParts(usize, usize),
    RepeatPart(usize),
    PartOfAnother(usize, Signer),
    Header(&'static str, Value),
    Claim(&'static str, Value),
    Reencode(usize, usize),
    OtherCase(prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Change> {
    let values = || {
        prop::sample::select(vec![
            json!(null),
            json!("none"),
            json!("HS256"),
            json!("RS256"),
            json!("ES256"),
            json!("EdDSA"),
            json!("p256"),
            json!("rsa"),
            json!("secret"),
            json!("other"),
            json!("admin"),
            json!(1),
            json!(true),
            json!([]),
        ])
    };
    prop_oneof![
        (any::<prop::sample::Index>(), 0u8..7).prop_map(|(at, bit)| Change::FlipBit(at, bit)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(from, to)| Change::Cut(from, to)),
        (
            any::<prop::sample::Index>(),
            prop::sample::select(vec!['A', '.', '=', ' ', '\n', 'é'])
        )
            .prop_map(|(at, char)| Change::Insert(at, char)),
        (0usize..3, 0usize..3).prop_map(|(a, b)| Change::SwapParts(a, b)),
        (0usize..3).prop_map(Change::RepeatPart),
        (0usize..3, prop::sample::select(Signer::ALL.to_vec()))
            .prop_map(|(part, signer)| Change::PartOfAnother(part, signer)),
        (prop::sample::select(HEADER), values())
            .prop_map(|(name, value)| Change::Header(name, value)),
        (prop::sample::select(CLAIMS), values())
            .prop_map(|(name, value)| Change::Claim(name, value)),
        (0usize..3, 0usize..3).prop_map(|(part, way)| Change::Reencode(part, way)),
        any::<prop::sample::Index>().prop_map(Change::OtherCase),
    ]
}

fn change(token: &str, change: &Change) -> Option<String> {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let edit = |part: &str, name: &str, value: &Value| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let mut object: Value = serde_json::from_slice(&bytes).ok()?;
        object
            .as_object_mut()?
            .insert(name.to_owned(), value.clone());
        Some(encode(object.to_string().as_bytes()))
    };
    let mut bytes = token.as_bytes().to_vec();
    match change {
        Change::FlipBit(at, bit) => {
            let at = at.index(bytes.len().max(1));
            *bytes.get_mut(at)? ^= 1 << bit;
            return String::from_utf8(bytes).ok();
        }
        Change::Cut(from, to) => {
            let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            bytes.drain(from.min(to)..from.max(to));
            return String::from_utf8(bytes).ok();
        }
        Change::Insert(at, char) => {
            let at = at.index(token.len() + 1);
            let mut text = token.to_owned();
            text.is_char_boundary(at).then(|| text.insert(at, *char))?;
            return Some(text);
        }
        Change::OtherCase(at) => {
            let byte = bytes.get_mut(at.index(token.len().max(1)))?;
            *byte ^= u8::from(byte.is_ascii_alphabetic()) << 5;
            return String::from_utf8(bytes).ok();
        }
        Change::SwapParts(a, b) if parts.len() > (*a).max(*b) => parts.swap(*a, *b),
        Change::RepeatPart(part) => parts.push(parts.get(*part)?.clone()),
        Change::PartOfAnother(part, signer) => {
            let other = good(*signer, signer.algorithms()[0]);
            *parts.get_mut(*part)? = other.split('.').nth(*part)?.to_owned();
        }
        Change::Header(name, value) => parts[0] = edit(parts.first()?, name, value)?,
        Change::Claim(name, value) => {
            let edited = edit(parts.get(1)?, name, value)?;
            parts[1] = edited;
        }
        Change::Reencode(part, way) => {
            let part = parts.get_mut(*part)?;
            let bytes = URL_SAFE_NO_PAD.decode(&*part).ok()?;
            *part = match way {
                0 => URL_SAFE.encode(bytes),
                1 => STANDARD.encode(bytes),
                _ => encode(part.as_bytes()),
            };
        }
        Change::SwapParts(..) => return None,
    }
    Some(parts.join("."))
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn no_change_of_a_token_is_accepted(
        (signer, alg) in signers(),
        changes in vec(changes(), 1..4),
    ) {
        let good = good(signer, alg);
        let changed = changes.iter().try_fold(good.clone(), |token, step| change(&token, step));
        // Three changes together may produce another complete good token.
        let others = Signer::ALL.map(|signer| self::good(signer, signer.algorithms()[0]));
        if let Some(changed) = changed.filter(|changed| !others.contains(changed)) {
            harness::changed_token(signer, &good, &changed);
        }
    }
}

/// One token of each kind, made once: RSA signs slowly in a debug build.
fn good(signer: Signer, alg: &'static str) -> String {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};
    type Tokens = HashMap<(&'static str, &'static str), String>;
    static GOOD: LazyLock<Mutex<Tokens>> = LazyLock::new(Mutex::default);
    let mut made = GOOD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.entry((harness::kid(signer), alg))
        .or_insert_with(|| harness::good_token(signer, alg))
        .clone()
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn both_stacks_agree_on_any_signature(
        message in vec(any::<u8>(), 0..64),
        signature in prop_oneof![
            vec(any::<u8>(), 0..80),
            vec(any::<u8>(), 96),
            vec(any::<u8>(), 132),
            vec(any::<u8>(), 256),
        ],
    ) {
        harness::any_signature(&message, &signature);
    }

    #[test]
    fn both_stacks_agree_on_spoiled_signatures(
        (signer, alg) in signers(),
        message in vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        xor in any::<u8>(),
    ) {
        let mut signature = signer.sign(alg, &message);
        let at = at.index(signature.len());
        signature[at] ^= xor;
        harness::any_signature(&message, &signature);
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    /// The rules on times, checked against their text: with integers, a wide type gives the exact
    /// result.
    #[test]
    fn times(
        exp in prop::option::of(dates()),
        nbf in prop::option::of(dates()),
        iat in prop::option::of(dates()),
        leeway in prop_oneof![Just(0u64), 0u64..100, Just(u64::MAX)],
        max_age in prop::option::of(prop_oneof![0u64..100, Just(u64::MAX)]),
    ) {
        let mut claims = json!({});
        for (name, value) in [("exp", exp), ("nbf", nbf), ("iat", iat)] {
            if let Some(value) = value {
                claims[name] = value.into();
            }
        }
        let policy = Policy {
            leeway: Duration::from_secs(leeway),
            max_age: max_age.map(Duration::from_secs),
            ..lenient()
        };
        let keyring = keyring_with(Signer::Ed25519, policy);
        let token = token_with(claims);

        let now = i128::from(NOW_SECONDS);
        let leeway = i128::from(leeway);
        let expired = exp.is_some_and(|exp| now >= i128::from(exp) + leeway);
        let early = [nbf, iat]
            .into_iter()
            .flatten()
            .any(|from| now + leeway < i128::from(from));
        let old = max_age.is_some_and(|max_age| {
            iat.is_none_or(|iat| now >= i128::from(iat) + i128::from(max_age) + leeway)
        });
        let verdict = harness::verdict(&token, &keyring);
        let is_far = [exp, nbf, iat].into_iter().flatten().any(|date| date > 253_402_300_799);
        prop_assert_eq!(verdict.is_ok(), !(expired || early || old || is_far));
        if let Ok(verified) = &verdict {
            harness::check_window(&token, &keyring, verified);
        }
    }

    #[test]
    fn audiences(
        aud in vec("[a-c]{0,2}", 0..4),
        ours in vec("[a-c]{0,2}", 0..4),
        single in any::<bool>(),
    ) {
        let is_ours = match (single, aud.first()) {
            (true, Some(first)) => ours.contains(first),
            _ => aud.iter().any(|aud| ours.contains(aud)),
        };
        let claim = match (single, aud.first()) {
            (true, Some(first)) => json!(first),
            _ => json!(aud),
        };
        let policy = Policy {
            audience: Some(ours),
            ..lenient()
        };
        let token = token_with(json!({"aud": claim, "iss": ISSUER}));
        let verdict = verify(&token, &keyring_with(Signer::Ed25519, policy), NOW);
        prop_assert_eq!(verdict.is_ok(), is_ours);
    }
}

fn dates() -> impl Strategy<Value = i64> {
    const MICROS: i64 = 1_000_000;
    let now = NOW_SECONDS;
    prop_oneof![
        4 => now - 110..now + 110,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![
            0, -1, i64::MIN, i64::MAX, i64::MAX / MICROS, i64::MIN / MICROS,
            253_402_300_799, 253_402_300_800,
        ]),
    ]
}
