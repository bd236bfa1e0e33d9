//! Each rule on tokens, which must refuse for its own reason: an accepted token, then the same with
//! one thing wrong.

use std::time::Duration;

use jwt_verify::{
    BoundTokens, Error, ErrorKind, Keyring, Part, Policy, UnixTime, Verified,
    limits::MAX_TOKEN_BYTES, verify,
};
use serde_json::{Value, json};

use crate::common::sign::{
    ISSUER, MICRO, NOW, NOW_SECONDS, SECOND, Signer, algorithms, encode, keyring_with, lenient,
    token_of, token_with,
};

fn check(token: &str, policy: Policy) -> Result<Verified, Error> {
    verify(token, &keyring_with(Signer::Ed25519, policy), NOW)
}

fn refusal(token: &str, policy: Policy) -> Error {
    check(token, policy).unwrap_err()
}

fn claims(claims: Value, policy: Policy) -> Result<Verified, Error> {
    check(&token_with(claims), policy)
}

fn claims_refusal(refused: Value, policy: Policy) -> Error {
    claims(refused, policy).unwrap_err()
}

fn header_refusal(header: &str) -> Error {
    let payload = format!("{{\"iss\":\"{ISSUER}\"}}");
    refusal(&Signer::Ed25519.token("EdDSA", header, &payload), lenient())
}

// ---- 1. Form

#[test]
fn length() {
    let padded = |bytes: usize| {
        let empty = token_with(json!({"x": ""})).len();
        // Three bytes of the claim make four characters of base64url.
        let token = token_with(json!({"x": "x".repeat((bytes - empty) / 4 * 3)}));
        assert!(token.len() <= bytes && token.len() > bytes - 4);
        token
    };
    assert!(check(&padded(MAX_TOKEN_BYTES), lenient()).is_ok());
    let long = padded(MAX_TOKEN_BYTES + 5);
    let bytes = long.len();
    assert_eq!(refusal(&long, lenient()), Error::TokenTooLong { bytes });
}

#[test]
fn three_parts() {
    let token = token_with(json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for (text, parts) in [
        (String::new(), 1),
        ("abcd".to_owned(), 1),
        (signed.to_owned(), 2),
        (format!("{token}.{signature}"), 4),
        (format!("{token}..x"), 5),
    ] {
        assert_eq!(refusal(&text, lenient()), Error::PartCount { parts });
    }
    let (header, payload) = signed.split_once('.').unwrap();
    for (text, part) in [
        (format!(".{payload}.{signature}"), Part::Header),
        (format!("{header}..{signature}"), Part::Payload),
        (format!("{signed}."), Part::Signature),
    ] {
        assert_eq!(refusal(&text, lenient()), Error::EmptyPart(part));
    }
}

#[test]
fn strict_base64url() {
    let token = token_with(json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    for (index, part) in [Part::Header, Part::Payload, Part::Signature]
        .into_iter()
        .enumerate()
    {
        for spoil in [
            |part: &str| format!("{part}="),
            |part: &str| format!(" {part}"),
            |part: &str| format!("{part}\n"),
            |part: &str| format!("{}+{}", &part[..8], &part[9..]),
            |part: &str| format!("{}/{}", &part[..8], &part[9..]),
            |part: &str| format!("{}é{}", &part[..8], &part[10..]),
            |part: &str| format!("{part}\0"),
        ] {
            let spoiled = spoil(parts[index]);
            let mut parts = parts.clone();
            parts[index] = &spoiled;
            let error = refusal(&parts.join("."), lenient());
            assert_eq!(error, Error::NotBase64url(part));
        }
    }
    // Stray bits in the last character: 64 bytes leave four of them.
    let mut stray = token.clone();
    let last = stray.pop().unwrap();
    assert!(matches!(last, 'A' | 'Q' | 'g' | 'w'));
    stray.push(char::from(last as u8 + 1));
    let error = refusal(&stray, lenient());
    assert_eq!(error, Error::NotBase64url(Part::Signature));
}

#[test]
fn json_objects() {
    let good = format!("{{\"iss\":\"{ISSUER}\"}}");
    for bad in [
        "[]",
        "\"x\"",
        "1",
        "null",
        "{",
        "{}{}",
        "{'a':1}",
        "{\"a\":1,}",
        "\u{feff}{}",
    ] {
        let header = Signer::Ed25519.token("EdDSA", bad, &good);
        let payload = Signer::Ed25519.token("EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}", bad);
        for (token, expected) in [(header, Part::Header), (payload, Part::Payload)] {
            match refusal(&token, lenient()) {
                Error::Json { part, .. } => assert_eq!(part, expected, "{bad}"),
                other => panic!("{bad}: {other}"),
            }
        }
    }
    for (payload, reason) in [
        (&b"{\"x\":\"\xff\"}"[..], "is not UTF-8"),
        (
            b"{\"sub\":\"admin\\u0000\"}",
            "holds the character U+0000, in member \"sub\"",
        ),
        (b"{\"x\\u0000\":1}", "holds the character U+0000"),
        (
            b"{\"x\":[{\"\\u0000\":1}]}",
            "holds the character U+0000, in member \"x\"",
        ),
        (
            b"{\"sub\":\"a\",\"s\\u0075b\":\"b\"}",
            "has two members \"sub\"",
        ),
        (b"{\"x\":1e-2000}", "holds a number that is out of range"),
    ] {
        let header = b"{\"alg\":\"EdDSA\",\"kid\":\"k\"}";
        let token = Signer::Ed25519.token_of_bytes("EdDSA", header, payload);
        let error = refusal(&token, lenient());
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert_eq!(error.to_string(), format!("token payload {reason}"));
    }
}

// ---- 2. Header

#[test]
fn algorithm_names() {
    assert_eq!(header_refusal("{\"kid\":\"k\"}"), Error::MissingAlgorithm);
    for name in [
        "none", "None", "eddsa", "EdDSA ", "", "Ed448", "RS1", "HS128",
    ] {
        let error = header_refusal(&json!({"alg": name, "kid": "k"}).to_string());
        assert_eq!(error.kind(), ErrorKind::Algorithm, "{name}");
        assert!(matches!(error, Error::UnknownAlgorithm { .. }), "{name}");
    }
    for value in [json!(null), json!(1), json!(["EdDSA"]), json!({})] {
        let error = header_refusal(&json!({"alg": value, "kid": "k"}).to_string());
        assert!(matches!(error, Error::HeaderType { name: "alg", .. }));
    }
}

#[test]
fn critical_extensions() {
    for crit in [
        json!(["exp"]),
        json!([]),
        json!(null),
        json!("b64"),
        json!(["b64"]),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k", "b64": true, "crit": crit});
        assert_eq!(
            header_refusal(&header.to_string()),
            Error::CriticalExtension
        );
    }
}

#[test]
fn unencoded_payload() {
    for b64 in [
        json!(false),
        json!(null),
        json!("true"),
        json!(0),
        json!([true]),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k", "b64": b64});
        assert_eq!(header_refusal(&header.to_string()), Error::UnencodedPayload);
    }
    let header = json!({"alg": "EdDSA", "kid": "k", "b64": true});
    assert!(check(&token_of(header, json!({})), lenient()).is_ok());
}

#[test]
fn header_types() {
    for name in ["kid", "typ"] {
        for value in [json!(null), json!(1), json!(true), json!(["k"]), json!({})] {
            let mut header = json!({"alg": "EdDSA", "kid": "k"});
            header[name] = value;
            let error = header_refusal(&header.to_string());
            assert!(matches!(error, Error::HeaderType { name: found, .. } if found == name));
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
    }
}

#[test]
fn token_types() {
    let typed = |typ: &str| token_of(json!({"alg": "EdDSA", "kid": "k", "typ": typ}), json!({}));
    let only_access = || Policy {
        token_types: Some(vec!["at+jwt".to_owned()]),
        ..lenient()
    };
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        assert!(check(&typed(typ), only_access()).is_ok(), "{typ}");
    }
    for typ in ["JWT", "", "at+jwt ", "jose"] {
        let error = refusal(&typed(typ), only_access());
        assert!(matches!(error, Error::TokenType { .. }), "{typ}");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(check(&typed(typ), lenient()).is_ok());
    }
}

/// RFC 7519 §5.1: `typ` may be left out where the context says that this is a JWT.
#[test]
fn a_token_without_a_type_counts_as_jwt() {
    let token = token_with(json!({}));
    let types = |types: &[&str]| Policy {
        token_types: Some(types.iter().map(|&typ| typ.to_owned()).collect()),
        ..lenient()
    };
    for accepted in [
        types(&["JWT", "at+jwt"]),
        types(&["at+jwt", "application/jwt"]),
        lenient(),
    ] {
        assert!(check(&token, accepted).is_ok());
    }
    for refused in [types(&["at+jwt"]), types(&[])] {
        let error = refusal(&token, refused);
        assert_eq!(error, Error::TokenType { typ: None });
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert_eq!(
            error.to_string(),
            "token has no \"typ\", which counts as \"JWT\", and that type is not accepted"
        );
    }
}

#[test]
fn keys_in_the_header_are_never_obeyed() {
    // The header contains a key in every possible way, and the token is signed by that key.
    let jwk = Signer::OtherEd25519.jwk();
    let url = "https://attacker.example/keys";
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": url}),
        json!({"x5u": url}),
        json!({"x5c": ["MII"]}),
    ] {
        let mut header = json!({"alg": "EdDSA", "kid": "k"});
        for (name, value) in extra.as_object().unwrap() {
            header[name] = value.clone();
        }
        let payload = json!({"iss": ISSUER}).to_string();
        let forged = Signer::OtherEd25519.token("EdDSA", &header.to_string(), &payload);
        assert_eq!(refusal(&forged, lenient()).kind(), ErrorKind::Signature);
        let genuine = Signer::Ed25519.token("EdDSA", &header.to_string(), &payload);
        assert!(check(&genuine, lenient()).is_ok());
    }
}

// ---- 3. Issuer

#[test]
fn issuers() {
    let mut keyring = Keyring::new();
    let jwk = Signer::Ed25519.jwk().to_string();
    let disabled = Policy {
        enabled: false,
        ..lenient()
    };
    keyring.add_issuer("https://off.example", disabled);
    keyring.add_issuer("https://on.example", lenient());
    for issuer in ["https://off.example", "https://on.example"] {
        assert!(keyring.add_key(issuer, Some("k"), None, &jwk, None));
    }
    assert!(!keyring.add_key("https://unknown.example", Some("k"), None, &jwk, None));
    let header = "{\"alg\":\"EdDSA\",\"kid\":\"k\"}";
    let with = |payload: &str| Signer::Ed25519.token("EdDSA", header, payload);
    let on = with("{\"iss\":\"https://on.example\"}");
    let off = with("{\"iss\":\"https://off.example\"}");
    let slash = with("{\"iss\":\"https://on.example/\"}");
    let none = with("{}");

    let error = |token: &str, keyring: &Keyring| verify(token, keyring, NOW).unwrap_err();
    assert!(verify(&on, &keyring, NOW).is_ok());
    assert!(matches!(
        error(&slash, &keyring),
        Error::UnknownIssuer { issuer: Some(_) }
    ));
    assert!(matches!(
        error(&none, &keyring),
        Error::UnknownIssuer { issuer: None }
    ));
    assert!(matches!(
        error(&off, &keyring),
        Error::DisabledIssuer { .. }
    ));
    assert_eq!(error(&off, &keyring).kind(), ErrorKind::Key);

    // The row for any issuer applies, except in place of a disabled row.
    keyring.add_issuer("*", lenient());
    assert!(matches!(
        error(&slash, &keyring),
        Error::NoKeys { .. } | Error::UnknownKey { .. }
    ));
    keyring.add_key("*", Some("k"), None, &jwk, None);
    assert!(verify(&slash, &keyring, NOW).is_ok());
    assert!(verify(&none, &keyring, NOW).is_ok());
    assert!(matches!(
        error(&off, &keyring),
        Error::DisabledIssuer { .. }
    ));

    for iss in [
        json!(null),
        json!(1),
        json!(["https://on.example"]),
        json!({}),
    ] {
        let error = error(&with(&json!({"iss": iss}).to_string()), &keyring);
        assert!(matches!(error, Error::IssuerType { .. }));
        assert_eq!(error.kind(), ErrorKind::Issuer);
    }
}

// ---- 4. Key: see tests/keyring.rs

// ---- 5. Signature

#[test]
fn every_algorithm() {
    let all = crate::common::cases::all_algorithms();
    for signer in Signer::ALL {
        for alg in signer.algorithms() {
            let policy = Policy {
                algorithms: all,
                ..lenient()
            };
            let keyring = keyring_with(signer, policy);
            let header = json!({"alg": alg, "kid": "k"}).to_string();
            let payload = json!({"iss": ISSUER, "sub": "user"}).to_string();
            let token = signer.token(alg, &header, &payload);
            let verified = verify(&token, &keyring, NOW).unwrap();
            assert_eq!(verified.claims, payload);
            assert_eq!(verified.subject.as_deref(), Some("user"));
            assert_eq!(verified.key_id.as_deref(), Some("k"));

            // A different message under the same signature.
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let other = encode(
                json!({"iss": ISSUER, "sub": "admin"})
                    .to_string()
                    .as_bytes(),
            );
            let forged = format!("{}.{other}.{signature}", signed.split_once('.').unwrap().0);
            let error = verify(&forged, &keyring, NOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signature);

            // And a signature of every wrong length.
            for length in [1, 31, 32, 48, 63, 65, 96, 132, 255, 257, 1024] {
                let signature = encode(&vec![1; length]);
                let error = verify(&format!("{signed}.{signature}"), &keyring, NOW).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Signature);
            }
        }
    }
}

/// The longest modulus, and one whose first octet has a single bit: there the signed text of PSS is
/// an octet shorter than the signature (RFC 8017 §8.1.2).
#[test]
fn rsa_of_other_lengths() {
    for (kid, vector) in [
        ("rsa-8192", include_str!("vectors/rsa-8192.json")),
        ("rsa-2049", include_str!("vectors/rsa-2049.json")),
    ] {
        let vector: Value = serde_json::from_str(vector).unwrap();
        let mut keyring = Keyring::new();
        keyring.add_issuer("*", lenient());
        assert!(keyring.add_key("*", Some(kid), None, &vector["jwk"].to_string(), None));
        for (alg, token) in vector["tokens"].as_object().unwrap() {
            let token = token.as_str().unwrap();
            assert!(verify(token, &keyring, NOW).is_ok(), "{kid}, {alg}");
            let (start, end) = token.split_at(token.len() - 9);
            let other = if end.starts_with('A') { 'B' } else { 'A' };
            let spoiled = format!("{start}{other}{}", &end[1..]);
            let error = verify(&spoiled, &keyring, NOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signature, "{kid}, {alg}");
        }
    }
}

// ---- 6. Claims

#[test]
fn required_claims() {
    let requiring = |claims: &[&str]| Policy {
        required_claims: claims.iter().map(|&claim| claim.to_owned()).collect(),
        ..lenient()
    };
    assert!(claims(json!({"exp": NOW_SECONDS + 1}), Policy::default()).is_ok());
    let error = claims_refusal(json!({}), Policy::default());
    assert_eq!(
        error.to_string(),
        "token has no claim \"exp\", which is required"
    );
    assert_eq!(error.kind(), ErrorKind::Claim);

    assert!(claims(json!({"org": 0}), requiring(&["org"])).is_ok());
    let null = claims_refusal(json!({"org": null}), requiring(&["org"]));
    assert!(matches!(null, Error::MissingClaim { .. }));
    let null = claims_refusal(json!({"exp": null}), requiring(&["exp"]));
    assert!(matches!(null, Error::ClaimType { claim: "exp", .. }));

    let error = claims_refusal(json!({}), requiring(&["aud"]));
    assert_eq!(error, Error::MissingAudience);
    assert_eq!(error.kind(), ErrorKind::Audience);

    let mut keyring = Keyring::new();
    keyring.add_issuer("*", requiring(&["iss"]));
    keyring.add_key("*", None, None, &Signer::Ed25519.jwk().to_string(), None);
    let token = Signer::Ed25519.token("EdDSA", "{\"alg\":\"EdDSA\"}", "{}");
    let error = verify(&token, &keyring, NOW).unwrap_err();
    assert_eq!(error, Error::MissingIssuer);
    assert_eq!(error.kind(), ErrorKind::Issuer);
}

/// No message shows a far date wrapped around or as another date.
#[test]
fn extreme_dates_are_shown_as_numbers() {
    let now = NOW;
    for (claim, value, shown) in [
        (
            "exp",
            "-1e300",
            "token expired at -1e300 seconds since 1970",
        ),
        (
            "exp",
            "-62135596801",
            "token expired at -62135596801 seconds since 1970",
        ),
        (
            "exp",
            "-62135596800",
            "token expired at 0001-01-01 00:00:00 UTC",
        ),
        (
            "nbf",
            "253402300799",
            "token is not valid before 9999-12-31 23:59:59 UTC",
        ),
    ] {
        let error = at(claim, value, lenient(), now).unwrap_err();
        assert_eq!(error.to_string(), format!("{shown} (claim \"{claim}\")"));
    }
}

/// In milliseconds, a token that should live for an hour would live for 50,000 years.
#[test]
fn dates_after_the_year_9999_are_refused() {
    const LAST: i64 = 253_402_300_799;
    let forever = || Policy {
        leeway: Duration::from_secs(u64::MAX),
        max_age: Some(Duration::from_secs(u64::MAX)),
        ..lenient()
    };
    for claim in ["exp", "nbf", "iat"] {
        let get = |value: &str, policy, now| at(claim, value, policy, now);
        for (value, shown) in [
            ("253402300800", "253402300800"),
            ("253402300800.0", "253402300800.0"),
            ("2.534023008e11", "253402300800.0"),
            ("253402300800.5", "253402300800.5"),
            ("1767225600000", "1767225600000"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775808"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("1e30", "1e30"),
            ("1e308", "1e308"),
        ] {
            let error = get(value, lenient(), NOW).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("claim \"{claim}\" is {shown} seconds since 1970, after the year 9999")
            );
            assert_eq!(error.kind(), ErrorKind::Claim);
            // Neither a leeway nor a late clock makes up for it.
            assert_eq!(get(value, forever(), NOW).unwrap_err(), error);
            assert_eq!(
                get(value, lenient(), UnixTime::MAX - MICRO).unwrap_err(),
                error
            );
        }
        let last = UnixTime::from_seconds(LAST);
        for value in ["253402300799", "253402300799.999", "2.53402300799e11"] {
            let now = if claim == "exp" { NOW } else { last + SECOND };
            assert!(get(value, lenient(), now).is_ok(), "{claim} {value}");
        }
    }
    // An early date is no later one.
    for value in ["-1e308", "-253402300800", "-1"] {
        assert_eq!(
            at("exp", value, lenient(), NOW).unwrap_err().kind(),
            ErrorKind::Expired
        );
        assert!(at("nbf", value, lenient(), NOW).is_ok());
        assert!(at("iat", value, lenient(), NOW).is_ok());
    }
}

#[test]
fn dates_are_numbers() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!("1"),
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(""),
        ] {
            let error = claims_refusal(json!({claim: value}), lenient());
            assert!(matches!(error, Error::ClaimType { claim: found, .. } if found == claim));
            assert_eq!(error.kind(), ErrorKind::Claim);
        }
    }
}

/// Accepted with this claim, as JSON text?
fn at(claim: &str, value: &str, policy: Policy, now: UnixTime) -> Result<Verified, Error> {
    let payload = format!("{{\"iss\":\"{ISSUER}\",\"{claim}\":{value}}}");
    let header = "{\"alg\":\"EdDSA\",\"kid\":\"k\"}";
    let token = Signer::Ed25519.token("EdDSA", header, &payload);
    verify(&token, &keyring_with(Signer::Ed25519, policy), now)
}

fn leeway(seconds: u32) -> Policy {
    Policy {
        leeway: seconds * SECOND,
        ..lenient()
    }
}

#[test]
fn expiry() {
    let exp = |value: &str, leeway_seconds| at("exp", value, leeway(leeway_seconds), NOW);
    for fine in [
        "1767225601",
        "1767225600.000001",
        "1.767225601e9",
        "1767225601.0",
        "253402300799",
    ] {
        assert!(exp(fine, 0).is_ok(), "{fine}");
    }
    for expired in [
        "1767225600",
        "1767225599.999999",
        "0",
        "-1",
        "-0.0",
        "1e-300",
        "-1e308",
        "-9223372036854775808",
    ] {
        let error = exp(expired, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Expired, "{expired}");
    }
    // now < exp + leeway, to the microsecond.
    assert!(exp("1767225540.000001", 60).is_ok());
    assert_eq!(
        exp("1767225540", 60).unwrap_err().kind(),
        ErrorKind::Expired
    );
    assert!(at("exp", "1767225600", lenient(), NOW - MICRO).is_ok());
    assert!(at("exp", "1767225600", lenient(), NOW).is_err());
    assert!(at("exp", "-1", lenient(), UnixTime::MIN).is_ok());
    let last = UnixTime::from_seconds(253_402_300_799);
    assert!(
        at(
            "exp",
            "253402300799",
            leeway(60),
            last + 60 * SECOND - MICRO
        )
        .is_ok()
    );
    assert!(at("exp", "253402300799", leeway(60), last + 60 * SECOND).is_err());
}

#[test]
fn not_before() {
    for claim in ["nbf", "iat"] {
        let from = |value: &str, leeway_seconds| at(claim, value, leeway(leeway_seconds), NOW);
        for fine in [
            "1767225600",
            "1767225599.5",
            "0",
            "-1",
            "-1e308",
            "-9223372036854775808",
        ] {
            assert!(from(fine, 0).is_ok(), "{claim} {fine}");
        }
        for early in ["1767225601", "1767225600.000001", "253402300799"] {
            let error = from(early, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotYetValid, "{claim} {early}");
        }
        assert!(from("1767225660", 60).is_ok());
        assert!(from("1767225660.000001", 60).is_err());
    }
    assert!(matches!(
        at("nbf", "1e10", lenient(), NOW),
        Err(Error::NotYetValid { .. })
    ));
    assert!(matches!(
        at("iat", "1e10", lenient(), NOW),
        Err(Error::IssuedInFuture { .. })
    ));
}

#[test]
fn maximum_age() {
    let policy = |leeway_seconds| Policy {
        max_age: Some(3_600 * SECOND),
        ..leeway(leeway_seconds)
    };
    assert!(at("iat", "1767222000.000001", policy(0), NOW).is_ok());
    let error = at("iat", "1767222000", policy(0), NOW).unwrap_err();
    assert!(matches!(error, Error::TooOld { .. }));
    assert_eq!(error.kind(), ErrorKind::Expired);
    assert!(at("iat", "1767221940.000001", policy(60), NOW).is_ok());
    assert!(at("iat", "1767221940", policy(60), NOW).is_err());
    let error = at("sub", "\"x\"", policy(0), NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "token has no claim \"iat\", which is required"
    );
    assert_eq!(error.kind(), ErrorKind::Claim);
}

#[test]
fn audience() {
    let ours = || Policy {
        audience: Some(vec!["app".to_owned(), "api".to_owned()]),
        ..lenient()
    };
    for aud in [
        json!("app"),
        json!(["api"]),
        json!(["x", "app"]),
        json!(["app", "app"]),
    ] {
        assert!(claims(json!({"aud": aud}), ours()).is_ok());
    }
    for aud in [
        json!("APP"),
        json!("app "),
        json!(""),
        json!([]),
        json!(["x"]),
        json!("app,api"),
    ] {
        let error = claims_refusal(json!({"aud": aud}), ours());
        assert!(matches!(error, Error::Audience { .. }));
        assert_eq!(error.kind(), ErrorKind::Audience);
        assert!(claims(json!({"aud": aud}), lenient()).is_ok());
    }
    assert_eq!(claims_refusal(json!({}), ours()), Error::MissingAudience);
    let nobody = Policy {
        audience: Some(vec![]),
        ..lenient()
    };
    assert!(claims(json!({"aud": "app"}), nobody).is_err());
    // Malformed, with or without a required audience.
    for aud in [
        json!(null),
        json!(1),
        json!(true),
        json!({"aud": "app"}),
        json!(["app", 1]),
        json!([["app"]]),
    ] {
        for policy in [ours(), lenient()] {
            let error = claims_refusal(json!({"aud": aud}), policy);
            assert!(matches!(error, Error::AudienceType { .. }));
            assert_eq!(error.kind(), ErrorKind::Audience);
        }
    }
}

#[test]
fn subject() {
    let verified = claims(json!({"sub": ""}), lenient()).unwrap();
    assert_eq!(verified.subject.as_deref(), Some(""));
    assert_eq!(claims(json!({}), lenient()).unwrap().subject, None);
    for sub in [json!(null), json!(1), json!(true), json!([]), json!({})] {
        let error = claims_refusal(json!({"sub": sub}), lenient());
        assert!(matches!(error, Error::ClaimType { claim: "sub", .. }));
        assert_eq!(error.kind(), ErrorKind::Claim);
    }
}

#[test]
fn other_claims_are_the_applications_affair() {
    let payload = "{ \"iss\" : \"https://issuer.example\",\n \"id\":12345678901234567890123, \"a\":{\"b\":1,\"b\":2},\"jti\":7}";
    let header = "{\"alg\":\"EdDSA\",\"kid\":\"k\"}";
    let token = Signer::Ed25519.token("EdDSA", header, payload);
    let verified = check(&token, lenient()).unwrap();
    assert_eq!(verified.claims, payload);
    assert_eq!(verified.token_id, None);
    let verified = claims(json!({"jti": "id"}), lenient()).unwrap();
    assert_eq!(verified.token_id.as_deref(), Some("id"));
}

// ---- The order of errors, and what they show

#[test]
fn errors_come_in_order() {
    // Each line corrects the first error of the line before it.
    let policy = || Policy {
        algorithms: algorithms(&["EdDSA", "ES256"]),
        audience: Some(vec!["app".to_owned()]),
        max_age: Some(60 * SECOND),
        ..Policy::default()
    };
    let kind = |alg: &str, kid: &str, signer: Signer, claims: Value| {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let token = signer.token(signer.algorithms()[0], &header, &claims.to_string());
        refusal(&token, policy()).kind()
    };
    let bad = json!({"iss": "x", "sub": 1, "aud": "x", "exp": 1, "nbf": 1e10});
    let other = Signer::OtherEd25519;
    assert_eq!(kind("none", "x", other, bad.clone()), ErrorKind::Algorithm);
    assert_eq!(
        kind("RS256", "x", other, bad.clone()),
        ErrorKind::UnknownIssuer
    );
    let with = |name: &str, value: Value, mut claims: Value| {
        claims[name] = value;
        claims
    };
    let bad = with("iss", json!(ISSUER), bad);
    assert_eq!(kind("RS256", "x", other, bad.clone()), ErrorKind::Algorithm);
    assert_eq!(kind("EdDSA", "x", other, bad.clone()), ErrorKind::Key);
    assert_eq!(kind("ES256", "k", other, bad.clone()), ErrorKind::Algorithm);
    assert_eq!(kind("EdDSA", "k", other, bad.clone()), ErrorKind::Signature);
    let ours = Signer::Ed25519;
    assert_eq!(
        kind("EdDSA", "k", ours, with("exp", json!("x"), bad.clone())),
        ErrorKind::Claim
    );
    assert_eq!(kind("EdDSA", "k", ours, bad.clone()), ErrorKind::Expired);
    let bad = with("exp", json!(NOW_SECONDS + 60), bad);
    assert_eq!(
        kind("EdDSA", "k", ours, bad.clone()),
        ErrorKind::NotYetValid
    );
    let bad = with("nbf", json!(NOW_SECONDS), bad);
    assert_eq!(kind("EdDSA", "k", ours, bad.clone()), ErrorKind::Claim);
    let bad = with("iat", json!(NOW_SECONDS), bad);
    assert_eq!(kind("EdDSA", "k", ours, bad.clone()), ErrorKind::Audience);
    let bad = with("aud", json!("app"), bad);
    assert_eq!(kind("EdDSA", "k", ours, bad.clone()), ErrorKind::Claim);
    let good = with("sub", json!("user"), bad);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    assert!(check(&token_of(header, good), policy()).is_ok());
}

#[test]
fn window_of_validity() {
    let policy = || Policy {
        max_age: Some(600 * SECOND),
        ..leeway(60)
    };
    let verified = claims(
        json!({"exp": NOW_SECONDS + 100, "nbf": NOW_SECONDS - 10, "iat": NOW_SECONDS - 20}),
        policy(),
    )
    .unwrap();
    assert_eq!(verified.valid_from, NOW - 70 * SECOND);
    assert_eq!(verified.valid_until, NOW + 160 * SECOND);
    let verified = claims(
        json!({"exp": NOW_SECONDS + 3_600, "iat": NOW_SECONDS}),
        policy(),
    )
    .unwrap();
    assert_eq!(verified.valid_from, NOW - 60 * SECOND);
    assert_eq!(verified.valid_until, NOW + 660 * SECOND);
    let verified = claims(json!({}), lenient()).unwrap();
    assert_eq!(verified.valid_from, UnixTime::MIN);
    assert_eq!(verified.valid_until, UnixTime::MAX);
}

#[test]
fn errors_show_neither_token_nor_signature() {
    let token = token_with(json!({"sub": "personal"}));
    let keyring = keyring_with(Signer::OtherEd25519, lenient());
    let error = verify(&token, &keyring, NOW).unwrap_err();
    let verified = check(&token, lenient()).unwrap();
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{verified:?}"),
    ] {
        for part in token.split('.') {
            assert!(!text.contains(part) && !text.contains("personal"), "{text}");
        }
    }
    // Text that a sender can choose is shortened and escaped.
    let kid = format!("\n\u{202e}{}", "x".repeat(10_000));
    let error = refusal(
        &token_of(json!({"alg": "EdDSA", "kid": kid}), json!({})),
        lenient(),
    );
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() < 300, "{text}");
        assert!(
            text.chars()
                .all(|char| !char.is_control() && char != '\u{202e}'),
            "{text}"
        );
    }
}

// ---- A binding

#[test]
fn a_bound_token_is_refused_unless_the_issuer_accepts_it() {
    let accept = || Policy {
        bound_tokens: BoundTokens::Accept,
        ..lenient()
    };
    // DPoP (RFC 9449 §6), mutual TLS (RFC 8705 §3.1), the other methods of RFC 7800, and forms that
    // no RFC has.
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}),
        json!({"kid": "dfd1aa97-6d8d-4575-a0fe-34b96de2bfad"}),
        json!({}),
        json!([]),
        json!(["jkt"]),
        json!("jkt"),
        json!(""),
        json!(0),
        json!(false),
        json!(null),
    ] {
        let error = claims_refusal(json!({"cnf": cnf}), lenient());
        assert_eq!(error, Error::BoundToken, "{cnf}");
        assert_eq!(error.kind(), ErrorKind::Claim);
        assert!(claims(json!({"cnf": cnf}), accept()).is_ok(), "{cnf}");
    }
    // A name that is written with an escape is the same name.
    let escaped = format!(r#"{{"iss":"{ISSUER}","c\u006ef":{{}}}}"#);
    let token = Signer::Ed25519.token("EdDSA", r#"{"alg":"EdDSA","kid":"k"}"#, &escaped);
    assert_eq!(refusal(&token, lenient()), Error::BoundToken);
}

#[test]
fn a_member_of_another_claim_binds_no_token() {
    for claim in [
        json!({"act": {"cnf": {"jkt": "x"}}}),
        json!({"CNF": {"jkt": "x"}}),
        json!({"cnf ": {"jkt": "x"}}),
        json!({"jkt": "x"}),
    ] {
        assert!(claims(claim.clone(), lenient()).is_ok(), "{claim}");
    }
}

#[test]
fn other_rules_are_reported_before_the_binding() {
    let error = claims_refusal(json!({"cnf": {}, "exp": 1}), lenient());
    assert!(matches!(error, Error::Expired { .. }));
    let token = token_with(json!({"cnf": {}}));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", encode(&[0; 64]));
    let error = refusal(&forged, lenient());
    assert!(matches!(error, Error::Signature { .. }));
}
