//! The texts for people who have to find out why a login fails.

use jwt_verify::{BoundTokens, Keyring, Policy, Step, inspect, verify};
use serde_json::json;

use crate::common::PLACES;
use crate::common::cases::read_cases;
use crate::common::sign::{
    ISSUER, NOW, NOW_SECONDS, SECOND, Signer, algorithms, encode, keyring_with, lenient, token_of,
    token_with,
};

const NAMES: [&str; 15] = [
    "format",
    "header",
    "issuer",
    "key",
    "signature",
    "exp",
    "nbf",
    "iat",
    "max_age",
    "iss",
    "aud",
    "sub",
    "cnf",
    "status",
    "required",
];

fn policy() -> Policy {
    Policy {
        audience: Some(vec!["my-app".to_owned()]),
        ..Policy::default()
    }
}

fn good_claims() -> serde_json::Value {
    json!({"sub": "user", "aud": "my-app", "exp": NOW_SECONDS + 3_600, "iat": NOW_SECONDS - 5})
}

fn with(name: &str, value: serde_json::Value) -> String {
    let mut claims = good_claims();
    claims[name] = value;
    token_with(claims)
}

fn look(token: &str) -> Vec<Step> {
    inspect(
        token,
        &keyring_with(Signer::Ed25519, policy()),
        NOW,
        &PLACES,
    )
}

fn detail<'s>(steps: &'s [Step], name: &str) -> &'s str {
    &steps.iter().find(|step| step.name == name).unwrap().detail
}

/// The steps that failed, and the text of the first.
fn failed(steps: &[Step]) -> (Vec<&'static str>, &str) {
    let failed: Vec<_> = steps.iter().filter(|step| !step.ok).collect();
    let names = failed.iter().map(|step| step.name).collect();
    (names, failed.first().map_or("", |step| &step.detail))
}

#[track_caller]
fn assert_mistake(steps: &[Step], names: &[&str], words: &[&str]) {
    let (failed, text) = failed(steps);
    assert_eq!(failed, names, "{steps:#?}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn a_good_token() {
    let steps = look(&token_with(good_claims()));
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    assert_eq!(names, NAMES);
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    assert_eq!(detail(&steps, "header"), "alg \"EdDSA\", kid \"k\"");
    assert_eq!(
        detail(&steps, "exp"),
        "1767229200 (2026-01-01 01:00:00 UTC), in 1 h"
    );
    assert_eq!(
        detail(&steps, "iat"),
        "1767225595 (2025-12-31 23:59:55 UTC), 5 s ago"
    );
    assert_eq!(detail(&steps, "sub"), "\"user\"");
    assert_eq!(detail(&steps, "required"), "has \"exp\"");
}

#[test]
fn extreme_dates() {
    for (value, shown) in [
        (
            json!(1e300),
            "1e300 seconds since 1970, after the year 9999",
        ),
        (
            json!(253_402_300_800_i64),
            "253402300800 seconds since 1970, after the year 9999",
        ),
    ] {
        for claim in ["exp", "nbf", "iat"] {
            assert_mistake(
                &look(&with(claim, value.clone())),
                &[claim],
                &[shown, "in seconds since 1970, not in milliseconds"],
            );
        }
    }
    let steps = look(&with("exp", json!(253_402_300_799_i64)));
    assert!(steps.iter().all(|step| step.ok));
    assert!(detail(&steps, "exp").ends_with("in effect the token never expires"));
    let steps = look(&with("nbf", json!(-1e300)));
    assert_eq!(
        detail(&steps, "nbf"),
        "-1e300 seconds since 1970, before the year 1"
    );
    let steps = look(&with("exp", json!(-1e300)));
    assert_mistake(&steps, &["exp"], &["at -1e300 seconds since 1970"]);
    assert!(!detail(&steps, "exp").contains("ago"));
}

// ---- The ten commonest mistakes

#[test]
fn mistake_1_wrong_audience() {
    let steps = look(&with("aud", json!(["your-app", "https://api.example"])));
    assert_mistake(
        &steps,
        &["aud"],
        &[
            "for \"your-app\", \"https://api.example\"",
            "accepted is \"my-app\"",
            "request one",
        ],
    );
    let steps = look(&with("aud", json!(7)));
    assert_mistake(
        &steps,
        &["aud"],
        &["must be a string or an array of strings"],
    );
}

#[test]
fn mistake_2_expired() {
    let steps = look(&with("exp", json!(NOW_SECONDS - 3 * 3_600)));
    assert_mistake(
        &steps,
        &["exp"],
        &[
            "2025-12-31 21:00:00 UTC",
            "3 h ago",
            "leeway is 1 min",
            "get a new token",
        ],
    );
}

#[test]
fn mistake_3_clock_skew() {
    for claim in ["nbf", "iat"] {
        let steps = look(&with(claim, json!(NOW_SECONDS + 90)));
        assert_mistake(&steps, &[claim], &["1 min 30 s ahead", "NTP", "leeway"]);
    }
    // The clock is right; the unit is wrong.
    let steps = look(&with("iat", json!(NOW_SECONDS * 1_000)));
    assert_mistake(&steps, &["iat"], &["not in milliseconds"]);
}

#[test]
fn mistake_4_unknown_kid_after_a_rotation() {
    let token = token_of(json!({"alg": "EdDSA", "kid": "2026-01"}), good_claims());
    let steps = look(&token);
    assert_mistake(
        &steps,
        &["key", "signature"],
        &[
            "no key with \"kid\" \"2026-01\"",
            "it has \"k\"",
            PLACES.unknown_key,
        ],
    );
    assert!(detail(&steps, "exp").starts_with("unverified: "));
}

#[test]
fn mistake_5_issuer_not_to_the_letter() {
    for (iss, words) in [
        ("https://issuer.example/", "a slash at the end"),
        ("https://ISSUER.example", "upper and lower case"),
        ("http://issuer.example", "scheme"),
        (" https://issuer.example", "white space"),
    ] {
        let steps = look(&with("iss", json!(iss)));
        assert_mistake(
            &steps,
            &["issuer", "key", "signature"],
            &["but \"https://issuer.example\" is", words, "to the letter"],
        );
    }
    let steps = look(&with("iss", json!("https://elsewhere.example")));
    let words = [
        "known are \"https://issuer.example\"",
        "so the token may be from another environment",
        PLACES.add_issuer,
    ];
    assert_mistake(&steps, &["issuer", "key", "signature"], &words);
}

#[test]
fn mistake_6_key_of_another_environment() {
    let keyring = keyring_with(Signer::OtherEd25519, policy());
    let steps = inspect(&token_with(good_claims()), &keyring, NOW, &PLACES);
    assert_mistake(
        &steps,
        &["signature"],
        &[
            "does not match key \"k\"",
            "from another environment",
            "JWKS",
        ],
    );
    assert_eq!(detail(&steps, "sub"), "unverified: \"user\"");
}

#[test]
fn mistake_7_shared_secret_against_a_public_key() {
    let header = json!({"alg": "HS256", "kid": "k"}).to_string();
    let mut claims = good_claims();
    claims["iss"] = ISSUER.into();
    let token = Signer::Secret.token("HS256", &header, &claims.to_string());
    let steps = inspect(&token, &keyring_with(Signer::Rsa, policy()), NOW, &PLACES);
    let words = ["\"HS256\" is not allowed", "shared secret", "public"];
    assert_mistake(&steps, &["key", "signature"], &words);
    let with_hmac = Policy {
        algorithms: algorithms(&["RS256", "HS256"]),
        ..policy()
    };
    let steps = inspect(&token, &keyring_with(Signer::Rsa, with_hmac), NOW, &PLACES);
    let words = [
        "is not for algorithm \"HS256\"",
        "shared secret",
        "public key",
    ];
    assert_mistake(&steps, &["key", "signature"], &words);
}

#[test]
fn mistake_8_pasted_with_something_around_it() {
    let token = token_with(good_claims());
    let middle = token.len() / 2;
    for (text, words) in [
        (format!("Bearer {token}"), "belongs to the HTTP header"),
        (format!("bearer {token}\n"), "belongs to the HTTP header"),
        (format!("\"Bearer {token}\""), "belongs to the HTTP header"),
        (format!("\"{token}\""), "in quotes"),
        (format!("'{token}'\n"), "in quotes"),
        (format!(" {token}"), "white space"),
        (format!("{token}\r\n"), "white space"),
        (
            format!("{}\n{}", &token[..middle], &token[middle..]),
            "line break",
        ),
    ] {
        let steps = look(&text);
        assert_mistake(&steps, &["format"], &[words]);
        // The token itself is still inspected.
        assert_eq!(steps.len(), NAMES.len());
        assert!(verify(&text, &keyring_with(Signer::Ed25519, policy()), NOW).is_err());
    }
}

#[test]
fn mistake_9_id_token_of_another_client() {
    let header = json!({"alg": "EdDSA", "kid": "k", "typ": "JWT"});
    let mut claims = good_claims();
    claims["aud"] = json!("web-frontend");
    claims["azp"] = json!("web-frontend");
    claims["nonce"] = json!("n");
    let steps = look(&token_of(header, claims));
    assert_mistake(
        &steps,
        &["aud"],
        &["another client's ID token", "\"web-frontend\""],
    );
    let header = json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"});
    let steps = look(&token_of(header, good_claims()));
    assert_mistake(
        &steps,
        &["header"],
        &["\"logout+jwt\" is not accepted", "\"JWT\", \"at+jwt\""],
    );
}

#[test]
fn mistake_10_not_a_jwt_at_all() {
    let json_text = format!("{{\"access_token\":\"{}\"}}", token_with(good_claims()));
    let header = encode(b"{\"alg\":\"none\"}");
    for (text, words) in [
        ("", "there is no token"),
        ("  \n", "there is no token"),
        ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "opaque token"),
        (
            "undefined",
            "the variable that should hold the token was empty",
        ),
        (
            " null\n",
            "the variable that should hold the token was empty",
        ),
        (
            "[object Object]",
            "the variable that should hold the token was empty",
        ),
        (
            "W3nUKfBvSesVKe9cDvIjbJKdBbpWvBSC.iZ5F2tYhRkDyHLmGkJx4BQJDWNHpl0W4Hf%2FGoIPKyzE%3D",
            "session cookies",
        ),
        ("a.b.c.d.e", "encrypted token (JWE)"),
        (json_text.as_str(), "this is JSON"),
        (&format!("{header}.{}.", encode(b"{}")), "no signature"),
        ("a.b", "session cookies"),
        (&format!("{header}.{}", encode(b"{}")), "no signature"),
        (&format!("{header}%2Ee30%2EAAAA"), "percent-encoded"),
        (&format!("{header}=.e30.AAAA"), "URL-safe alphabet"),
        (
            &format!("{}.e30.AAAA", encode(b"hello")),
            "header is not JSON",
        ),
    ] {
        let steps = look(text);
        assert_mistake(&steps, &["format"], &[words]);
        assert_eq!(steps.len(), 1, "{text}");
        // The text may be a secret, even where it is not a token.
        let shown = &steps[0].detail;
        assert!(text.len() < 4 || !shown.contains(text), "{shown}");
    }
}

#[test]
fn mistake_11_times_in_milliseconds() {
    for claim in ["exp", "nbf", "iat"] {
        let steps = look(&with(claim, json!(NOW_SECONDS * 1000)));
        assert_mistake(&steps, &[claim], &["not in milliseconds"]);
    }
    let steps = look(&with("exp", json!(NOW_SECONDS + 10 * 365 * 86_400)));
    assert!(steps.iter().all(|step| step.ok));
    assert!(!detail(&steps, "exp").contains("never expires"));
}

// ---- Others

#[test]
fn other_mistakes_name_their_mend() {
    let mut off = policy();
    off.enabled = false;
    let steps = inspect(
        &token_with(good_claims()),
        &keyring_with(Signer::Ed25519, off),
        NOW,
        &PLACES,
    );
    assert_mistake(
        &steps,
        &["issuer", "key", "signature"],
        &["is disabled", PLACES.issuers],
    );

    let mut keyring = Keyring::new();
    keyring.add_issuer(ISSUER, policy());
    let steps = inspect(
        &token_of(json!({"alg": "EdDSA"}), good_claims()),
        &keyring,
        NOW,
        &PLACES,
    );
    assert_mistake(
        &steps,
        &["key", "signature"],
        &["has no usable key", PLACES.no_keys],
    );

    let jwk = Signer::Ed25519.jwk().to_string();
    keyring.add_key(ISSUER, Some("k"), None, &jwk, Some(NOW));
    let steps = inspect(&token_with(good_claims()), &keyring, NOW, &PLACES);
    assert_mistake(
        &steps,
        &["key", "signature"],
        &["is not used since", PLACES.expired_key],
    );

    keyring.add_key(ISSUER, None, None, &jwk, None);
    keyring.add_key(
        ISSUER,
        None,
        None,
        &Signer::OtherEd25519.jwk().to_string(),
        None,
    );
    let steps = inspect(
        &token_of(json!({"alg": "EdDSA"}), good_claims()),
        &keyring,
        NOW,
        &PLACES,
    );
    assert_mistake(
        &steps,
        &["key", "signature"],
        &["several keys", "put \"kid\" into"],
    );

    let aged = Policy {
        max_age: Some(60 * SECOND),
        ..policy()
    };
    let keyring = keyring_with(Signer::Ed25519, aged);
    let steps = inspect(
        &with("iat", json!(NOW_SECONDS - 200)),
        &keyring,
        NOW,
        &PLACES,
    );
    assert_mistake(
        &steps,
        &["max_age"],
        &[
            "not be older than 1 min",
            "3 min 20 s ago",
            "get a new token",
        ],
    );

    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove("exp");
    assert_mistake(
        &look(&token_with(claims)),
        &["required"],
        &["\"exp\"", PLACES.issuers],
    );
    assert_mistake(
        &look(&with("exp", json!("1"))),
        &["exp"],
        &["without quotes"],
    );
    assert_mistake(
        &look(&with("sub", json!(5))),
        &["sub"],
        &["must be a string"],
    );
    assert_mistake(
        &look(&with("iss", json!(5))),
        &["issuer", "key", "signature", "iss"],
        &["must be a string"],
    );

    let none = token_of(json!({"alg": "none"}), good_claims());
    assert_mistake(
        &look(&none),
        &["header", "key", "signature"],
        &["not signed"],
    );
    // A refused header does not prevent the other steps.
    let crit = token_of(
        json!({"alg": "EdDSA", "kid": "k", "crit": ["x"]}),
        good_claims(),
    );
    assert_mistake(&look(&crit), &["header"], &["critical"]);

    let token = token_with(good_claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let steps = look(&format!("{signed}.{}", encode(&[0x30; 70])));
    assert_mistake(
        &steps,
        &["signature"],
        &["has 70 bytes", "have 64", "ASN.1 DER"],
    );
}

/// The error tells a person what `inspect` tells, and less: nothing about accepted values.
#[test]
fn advice_is_inspects_sentence_and_tells_a_stranger_nothing() {
    let token = token_with(good_claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let with_header = |header: serde_json::Value| token_of(header, good_claims());
    let json_text = format!("{{\"access_token\":\"{token}\"}}");
    let mut seen = 0;
    for (text, words) in [
        (format!("Bearer {token}"), "belongs to the HTTP header"),
        (format!("bearer\u{a0}{token}"), ""),
        (format!("\"{token}\""), "in quotes"),
        (format!("\n{token}"), "white space"),
        (format!("{header}.{payload}\n.{signature}"), "line break"),
        (json_text, "this is JSON"),
        (token.replace('.', "%2E"), "percent-encoded"),
        ("undefined".to_owned(), "was empty"),
        (
            "gho_16C7e42F292c6912E7710c838347Ae178B4a".to_owned(),
            "opaque token",
        ),
        (
            "W3nUKfBvSesVKe9c.iZ5F2tYhRkDyHLmGkJx4BQJDWN".to_owned(),
            "session cookies",
        ),
        (format!("{header}.{payload}"), "no signature"),
        (format!("{header}.{payload}."), "no signature"),
        (format!("{header}..{signature}"), "detached"),
        ("a.b.c.d.e".to_owned(), "encrypted token (JWE)"),
        (
            format!("{header}=.{payload}.{signature}"),
            "x-amzn-oidc-accesstoken",
        ),
        (
            format!("{header}.{payload}+.{signature}"),
            "URL-safe alphabet",
        ),
        (format!("{header}x.{payload}.{signature}"), ""),
        (
            with_header(json!({"alg": "none"})),
            "anybody can have written",
        ),
        (
            with_header(json!({"alg": "eddsa", "kid": "k"})),
            "did you mean \"EdDSA\"",
        ),
        (
            with_header(json!({"alg": "RSA-OAEP", "kid": "k"})),
            "for encryption",
        ),
        (
            with_header(json!({"alg": "ES256K", "kid": "k"})),
            "such as RS256",
        ),
        (
            with_header(json!({"alg": "EdDSA", "kid": 7})),
            "\"kid\" as text",
        ),
        (
            with_header(json!({"alg": "EdDSA", "kid": "k", "typ": "access"})),
            "ID token",
        ),
        (
            with_header(json!({"alg": "HS256", "kid": "k"})),
            "shared secret",
        ),
        (
            with_header(json!({"alg": "ES256", "kid": "k"})),
            "type or curve",
        ),
        (
            with_header(json!({"alg": "EdDSA", "kid": "other"})),
            PLACES.unknown_key,
        ),
        (
            with("iss", json!("https://elsewhere.example")),
            PLACES.add_issuer,
        ),
        (with("iss", json!(7)), "as text"),
        (
            format!("{header}.{payload}.{}", encode(&[0; 64])),
            "changed after it was signed",
        ),
        (with("aud", json!("other")), "another client's ID token"),
        (with("exp", json!(NOW_SECONDS - 3_600)), "get a new token"),
        (with("exp", json!("1")), "without quotes"),
        (
            with("exp", json!(NOW_SECONDS * 1_000)),
            "not in milliseconds",
        ),
        (with("nbf", json!(NOW_SECONDS + 90)), "compare the clock"),
        (
            with("iat", json!(NOW_SECONDS + 86_400)),
            "compare the clock",
        ),
        (with("iat", json!(NOW_SECONDS * 20)), "not in milliseconds"),
        (
            with("sub", json!(42)),
            "sign it as text, as in \"sub\": \"42\"",
        ),
    ] {
        let keyring = keyring_with(Signer::Ed25519, policy());
        let error = verify(&text, &keyring, NOW).unwrap_err();
        let advice = jwt_verify::advice(&text, &error, &PLACES).unwrap_or_default();
        assert!(advice.contains(words), "{error}: {advice}");
        let steps = look(&text);
        // The owner sees the accepted audiences, in place of who sees them.
        let shared = advice
            .split(PLACES.audiences)
            .next()
            .unwrap()
            .trim_end_matches("; ");
        assert!(
            steps
                .iter()
                .any(|step| !step.ok && step.detail.contains(shared)),
            "{advice}: {steps:#?}"
        );
        for secret in ["my-app", "at+jwt", ISSUER, signature, payload] {
            assert!(!advice.contains(secret), "{secret}: {advice}");
        }
        assert!(advice.len() < 300, "{advice}");
        seen += usize::from(!advice.is_empty());
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn an_issuer_that_begins_as_a_known_one_is_named() {
    let steps = look(&with(
        "iss",
        json!("https://issuer.example/user_management/client_1"),
    ));
    let words = [
        "known is \"https://issuer.example\"",
        "begins with the other",
    ];
    assert_mistake(&steps, &["issuer", "key", "signature"], &words);
    let steps = look(&with("iss", json!("https://issuer.example.org")));
    assert_mistake(&steps, &["issuer", "key", "signature"], &["known are"]);
}

#[test]
fn bounded_and_without_secrets() {
    let hostile = format!("\u{1b}[31m\r\nfoo\u{202e}\0{}", "x".repeat(5_000)).replace('\0', "");
    let header = json!({"alg": "EdDSA", "kid": hostile, "typ": hostile});
    let claims = json!({
        "iss": hostile,
        "sub": hostile,
        "aud": vec![hostile.clone(); 6],
        "exp": 1e300,
        "nbf": -1e300,
        "iat": 1e300,
    });
    let policy = Policy {
        required_claims: vec![hostile.clone()],
        ..policy()
    };
    let mut any = Keyring::new();
    any.add_issuer("*", policy.clone());
    for keyring in [keyring_with(Signer::Ed25519, policy), any] {
        let token = token_of(header.clone(), claims.clone());
        for step in inspect(&token, &keyring, NOW, &PLACES) {
            assert!(step.detail.chars().count() < 1_000, "{step:?}");
            let is_plain = |char: char| !char.is_control() && char != '\u{202e}';
            assert!(step.detail.chars().all(is_plain), "{step:?}");
        }
    }
    let token = token_with(good_claims());
    let key = Signer::Ed25519.jwk()["x"].as_str().unwrap().to_owned();
    let secrets: Vec<_> = token.split('.').chain([key.as_str()]).collect();
    for text in [token.clone(), format!("\"{token}\""), format!("{token}x")] {
        for step in look(&text) {
            assert!(secrets.iter().all(|secret| !step.detail.contains(secret)));
        }
    }
    for step in inspect(&"x".repeat(10_000_000), &Keyring::new(), NOW, &PLACES) {
        assert_eq!(
            step.detail,
            "token of 10000000 bytes is longer than 65536 bytes"
        );
    }
}

#[test]
fn agrees_with_verify_on_every_vector() {
    for (file, count) in [
        ("cases.json", 554),
        ("rfc_cases.json", 43),
        ("wycheproof_jws.json.gz", 401),
    ] {
        for case in read_cases(file, count) {
            let (keyring, _) = case.keyring();
            let steps = inspect(&case.token, &keyring, case.now(), &PLACES);
            let accepted = verify(&case.token, &keyring, case.now());
            let all_ok = steps.iter().all(|step| step.ok);
            assert_eq!(all_ok, accepted.is_ok(), "{}: {steps:#?}", case.name);
            if let Err(error) = accepted {
                // The steps contain the reason for the refusal, in the same words.
                let text = error.to_string();
                let told = steps
                    .iter()
                    .any(|step| !step.ok && step.detail.contains(&text));
                assert!(told, "{}: {text}: {steps:#?}", case.name);
            }
        }
    }
}

#[test]
fn a_binding_and_a_status_list_are_pointed_out() {
    let bound = with(
        "cnf",
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
    );
    let steps = look(&bound);
    let refused: Vec<_> = steps.iter().filter(|step| !step.ok).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].name, refused[0].detail.as_str()),
        (
            "cnf",
            "token is bound to a key of its holder (claim \"cnf\"), and no proof of that key is \
             checked here: request a token without DPoP and without a client certificate, or have a \
             gateway check the proof and set \"bound_tokens\" of the issuer's row in the list of \
             issuers to \"accept\""
        )
    );
    let accepting = Policy {
        bound_tokens: BoundTokens::Accept,
        ..policy()
    };
    let keyring = keyring_with(Signer::Ed25519, accepting);
    let steps = inspect(&bound, &keyring, NOW, &PLACES);
    assert!(steps.iter().all(|step| step.ok));
    assert_eq!(
        detail(&steps, "cnf"),
        "bound to a key of its holder; accepted without a proof of that key, as the issuer's \
         \"bound_tokens\" are accepted"
    );

    let listed = json!({"status_list": {"idx": 7, "uri": "https://auth.example.com/status/1"}});
    let steps = look(&with("status", listed));
    assert!(steps.iter().all(|step| step.ok));
    assert_eq!(
        detail(&steps, "status"),
        "not looked up: a token that its issuer has suspended or revoked in a status list is \
         accepted until it expires"
    );
}

#[test]
fn claims_are_checked_leniently_where_nothing_is_asked() {
    let steps = inspect(
        &token_with(json!({})),
        &keyring_with(Signer::Ed25519, lenient()),
        NOW,
        &PLACES,
    );
    assert!(steps.iter().all(|step| step.ok));
    for (name, text) in [
        ("exp", "absent"),
        (
            "aud",
            "absent; not checked, as the issuer has no audience: tokens for other applications are \
             accepted too, until the list of issuers names one",
        ),
        ("sub", "absent"),
        ("max_age", "the issuer sets none"),
        ("cnf", "absent"),
        ("status", "absent"),
        ("required", "the issuer requires no claim"),
    ] {
        assert_eq!(detail(&steps, name), text);
    }
}

/// A row of a token's own name is told from the row for any, also for a token that calls itself `*`.
#[test]
fn tells_an_issuers_own_row_from_the_row_for_any() {
    let row_of = |names: &[&str], iss: Option<&str>| {
        let mut keyring = Keyring::new();
        for name in names {
            keyring.add_issuer(name, lenient());
        }
        let claims = iss.map_or(json!({}), |iss| json!({"iss": iss}));
        let header = json!({"alg": "EdDSA"}).to_string();
        let token = Signer::Ed25519.token("EdDSA", &header, &claims.to_string());
        let steps = inspect(&token, &keyring, NOW, &PLACES);
        let step = steps.iter().find(|step| step.name == "issuer").unwrap();
        assert!(step.ok, "{step:?}");
        step.detail.contains("is known")
    };
    assert!(row_of(&[ISSUER], Some(ISSUER)));
    assert!(row_of(&[ISSUER, "*"], Some(ISSUER)));
    assert!(!row_of(&["*"], Some(ISSUER)));
    assert!(!row_of(&[ISSUER, "*"], Some("https://other.example")));
    assert!(!row_of(&["*"], Some("*")));
    assert!(!row_of(&["*"], None));
}
