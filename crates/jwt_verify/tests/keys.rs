//! Each rule on keys: an admitted key, then the same key with one thing wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_verify::cross_check::admit_even_published;
use jwt_verify::limits::{MAX_JWK_BYTES, MAX_JWKS_BYTES, MAX_JWKS_KEYS};
use jwt_verify::{AlgorithmSet, Excerpt, JwksError, Key, KeyError, KeyType, read_jwks};
use serde_json::{Value, json};

use crate::common::cases::all_algorithms;
use crate::common::sign::{Signer, algorithms, encode};

fn admit(jwk: &str) -> Result<Key, KeyError> {
    Key::from_jwk(jwk, all_algorithms())
}

fn with(signer: Signer, members: Value) -> Result<Key, KeyError> {
    admit(&signer.jwk_with(members))
}

fn refusal(signer: Signer, members: Value) -> KeyError {
    with(signer, members).unwrap_err()
}

fn without(signer: Signer, member: &str) -> KeyError {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove(member).unwrap();
    admit(&jwk.to_string()).unwrap_err()
}

fn rsa(n: &[u8], e: &[u8]) -> Result<Key, KeyError> {
    admit(&json!({"kty": "RSA", "n": encode(n), "e": encode(e)}).to_string())
}

/// An odd number with this number of bits.
fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] >>= bytes.len() * 8 - bits;
    bytes
}

const E: &[u8] = &[1, 0, 1];

#[test]
fn every_type_is_admitted() {
    for (signer, key_type) in [
        (Signer::Rsa, KeyType::Rsa),
        (Signer::P256, KeyType::Ec),
        (Signer::P384, KeyType::Ec),
        (Signer::P521, KeyType::Ec),
        (Signer::Ed25519, KeyType::Okp),
        (Signer::Secret, KeyType::Oct),
    ] {
        let key = with(
            signer,
            json!({"kid": "k", "use": "sig", "key_ops": ["verify"]}),
        )
        .unwrap();
        assert_eq!(key.key_type(), key_type);
        assert_eq!(key.kid(), Some("k"));
        assert_eq!(key.alg(), None);
        assert_eq!(key.key_type().name(), signer.jwk()["kty"]);
    }
}

#[test]
fn thumbprints() {
    // RFC 7638 §3.1 and RFC 8037 A.3.
    let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    let key = admit_even_published(rsa, all_algorithms()).unwrap();
    assert_eq!(
        key.thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    assert_eq!(key.alg(), Some("RS256"));
    let okp = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = admit_even_published(okp, all_algorithms()).unwrap();
    assert_eq!(
        key.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    // The members of RFC 7638 §3.2 for the others, hashed elsewhere.
    use sha2::{Digest, Sha256};
    let hash = |text: String| encode(&Sha256::digest(text));
    let ec = Signer::P521.jwk();
    let text = format!(
        "{{\"crv\":\"P-521\",\"kty\":\"EC\",\"x\":{},\"y\":{}}}",
        ec["x"], ec["y"]
    );
    assert_eq!(
        with(Signer::P521, json!({})).unwrap().thumbprint(),
        hash(text)
    );
    let text = format!("{{\"k\":{},\"kty\":\"oct\"}}", Signer::Secret.jwk()["k"]);
    assert_eq!(
        with(Signer::Secret, json!({})).unwrap().thumbprint(),
        hash(text)
    );
}

#[test]
fn json() {
    assert!(matches!(admit("{"), Err(KeyError::Json(_))));
    assert!(matches!(admit("[]"), Err(KeyError::Json(_))));
    let key = Signer::P256.jwk().to_string();
    let twice = key.replacen('{', "{\"x\":\"\",", 1);
    assert_eq!(
        admit(&twice).unwrap_err().to_string(),
        "JWK has two members \"x\""
    );
    let deep = |depth: usize| {
        json!({"x5c": "@"}).to_string().replace(
            "\"@\"",
            &format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1)),
        )
    };
    let deep = |depth| key.replacen('{', &deep(depth).replace('}', ","), 1);
    assert!(admit(&deep(128)).is_ok());
    assert!(matches!(admit(&deep(129)), Err(KeyError::Json(_))));
    let long = |bytes: usize| {
        let with_note = |note: String| Signer::P256.jwk_with(json!({"note": note}));
        let empty = with_note(String::new()).len();
        with_note("x".repeat(bytes - empty))
    };
    assert!(admit(&long(MAX_JWK_BYTES)).is_ok());
    let bytes = MAX_JWK_BYTES + 1;
    assert_eq!(
        admit(&long(bytes)).unwrap_err(),
        KeyError::TooLong { bytes }
    );
}

#[test]
fn private_members() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        for signer in [Signer::Rsa, Signer::P256, Signer::Ed25519, Signer::MlDsa65] {
            // Whatever its value, and even if the key breaks other rules too.
            for value in [json!("AQAB"), json!(null), json!([])] {
                let error = refusal(signer, json!({member: value, "use": "enc", "kty": "X"}));
                assert_eq!(error, KeyError::PrivateMember { member });
                assert!(error.is_private_key());
            }
        }
    }
    assert!(!refusal(Signer::Rsa, json!({"use": "enc"})).is_private_key());
    // The drafts of RFC 9964 had the seed beside the key that comes of it.
    let seed = json!({"seed": "AAAA"});
    let member = "seed";
    let error = refusal(Signer::MlDsa65, seed.clone());
    assert_eq!(error, KeyError::PrivateMember { member });
    assert!(
        admit(&Signer::P256.jwk_with(seed)).is_ok(),
        "of another type"
    );
}

#[test]
fn types() {
    for kty in ["rsa", "ec", "OCT", "akp", "LMS", "", "RSA "] {
        let error = admit(&json!({"kty": kty}).to_string()).unwrap_err();
        assert!(matches!(error, KeyError::UnsupportedType(_)), "{kty}");
    }
    for signer in Signer::ALL
        .into_iter()
        .filter(|&signer| signer != Signer::Secret)
    {
        assert_eq!(
            without(signer, "kty"),
            KeyError::MissingMember { member: "kty" }
        );
    }
    // Without its type it is a secret in the wrong member.
    assert!(without(Signer::Secret, "kty").is_private_key());
    for (signer, members) in [
        (Signer::Rsa, &["n", "e"][..]),
        (Signer::P256, &["crv", "x", "y"]),
        (Signer::P384, &["crv", "x", "y"]),
        (Signer::P521, &["crv", "x", "y"]),
        (Signer::Ed25519, &["crv", "x"]),
        (Signer::Secret, &["k"]),
    ] {
        for &member in members {
            assert_eq!(without(signer, member), KeyError::MissingMember { member });
            for value in [json!(1), json!(null), json!(["x"]), json!({})] {
                let error = refusal(signer, json!({member: value}));
                let expected = "a string";
                assert_eq!(error, KeyError::MemberType { member, expected });
            }
            if member != "crv" {
                let good = signer.jwk()[member].as_str().unwrap().to_owned();
                for bad in [
                    format!("{good}="),
                    format!(" {good}"),
                    format!("{good}\n"),
                    format!("+{}", &good[1..]),
                    format!("{good}!"),
                ] {
                    let error = refusal(signer, json!({member: bad}));
                    assert_eq!(error, KeyError::NotBase64url { member });
                }
            }
        }
    }
}

#[test]
fn names_are_strings() {
    for member in ["kid", "alg", "use"] {
        for value in [json!(1), json!(null), json!(["sig"]), json!({})] {
            let error = refusal(Signer::Ed25519, json!({member: value}));
            assert_eq!(
                error,
                KeyError::MemberType {
                    member,
                    expected: "a string"
                }
            );
        }
    }
    assert_eq!(
        with(Signer::Ed25519, json!({"kid": ""})).unwrap().kid(),
        Some("")
    );
}

#[test]
fn uses() {
    for other in ["enc", "", "SIG", "sig "] {
        assert!(matches!(
            refusal(Signer::Rsa, json!({"use": other})),
            KeyError::Use(_)
        ));
    }
    for fine in [
        json!(["verify"]),
        json!(["sign", "verify"]),
        json!(["x", "verify"]),
    ] {
        assert!(with(Signer::Rsa, json!({"key_ops": fine})).is_ok());
    }
    for bad in [json!([]), json!(["sign"]), json!(["Verify"])] {
        let error = refusal(Signer::Rsa, json!({"key_ops": bad}));
        assert_eq!(error, KeyError::NotForVerifying);
    }
    for bad in [
        json!("verify"),
        json!(null),
        json!(["verify", 1]),
        json!({"verify": 1}),
    ] {
        let error = refusal(Signer::Rsa, json!({"key_ops": bad}));
        assert!(matches!(
            error,
            KeyError::MemberType {
                member: "key_ops",
                ..
            }
        ));
    }
    let error = refusal(Signer::Rsa, json!({"key_ops": ["verify", "verify"]}));
    assert_eq!(error, KeyError::RepeatedOperation);
}

#[test]
fn stated_algorithms() {
    for signer in Signer::ALL {
        for alg in [
            "RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256",
        ] {
            let admitted = with(signer, json!({"alg": alg}));
            match signer.algorithms().contains(&alg) {
                true => assert_eq!(admitted.unwrap().alg(), Some(alg)),
                false => {
                    let error = admitted.unwrap_err();
                    assert!(matches!(error, KeyError::AlgorithmMismatch { .. }), "{alg}");
                }
            }
        }
        for alg in ["none", "RSA-OAEP", "ES256K", "Ed448", "rs256", "", "A256KW"] {
            let error = refusal(signer, json!({"alg": alg}));
            assert!(matches!(error, KeyError::UnknownAlgorithm(_)), "{alg}");
        }
    }
}

#[test]
fn a_pinned_algorithm() {
    let pinned = |jwk: &str, alg: &str| Key::from_jwk_with_alg(jwk, alg, all_algorithms());
    let plain = Signer::Rsa.jwk().to_string();
    assert_eq!(pinned(&plain, "PS256").unwrap().alg(), Some("PS256"));
    let stated = Signer::Rsa.jwk_with(json!({"alg": "RS256"}));
    assert_eq!(pinned(&stated, "PS256").unwrap().alg(), Some("PS256"));
    let mismatch = pinned(&plain, "ES256").unwrap_err();
    assert!(matches!(mismatch, KeyError::AlgorithmMismatch { .. }));
    let unknown = pinned(&plain, "none").unwrap_err();
    assert!(matches!(unknown, KeyError::UnknownAlgorithm(_)));
}

#[test]
fn rsa_modulus() {
    for bits in [2_048, 2_049, 2_055, 4_096, 4_097, 8_191, 8_192] {
        assert!(rsa(&modulus(bits), E).is_ok(), "{bits}");
    }
    for bits in [0, 1, 512, 1_024, 2_040, 2_047] {
        let error = rsa(&modulus(bits.max(1)), E).unwrap_err();
        assert_eq!(error, KeyError::ModulusTooShort { bits: bits.max(1) });
    }
    // A leading zero octet adds no strength.
    let mut padded = vec![0; 300];
    padded.extend(modulus(1_024));
    assert_eq!(
        rsa(&padded, E).unwrap_err(),
        KeyError::ModulusTooShort { bits: 1_024 }
    );
    for bits in [8_193, 8_200, 65_536] {
        assert_eq!(
            rsa(&modulus(bits), E).unwrap_err(),
            KeyError::ModulusTooLong { bits }
        );
    }
    let mut even = modulus(2_048);
    *even.last_mut().unwrap() = 0xfe;
    assert_eq!(rsa(&even, E).unwrap_err(), KeyError::ModulusEven);
    assert_eq!(
        rsa(&[], E).unwrap_err(),
        KeyError::ModulusTooShort { bits: 0 }
    );
}

#[test]
fn rsa_exponent() {
    let n = modulus(2_048);
    for e in [&[3][..], &[5], &[17], E, &[0xff, 0xff, 0xff, 0xff]] {
        assert!(rsa(&n, e).is_ok(), "{e:?}");
    }
    for e in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[4],
        &[1, 0, 0],
        &[1, 0, 0, 0, 1],
        &[0xff; 8],
        &[1, 0, 0, 0, 0, 0, 0, 0, 3],
        &n,
        &[0, 0, 1],
    ] {
        assert_eq!(rsa(&n, e).unwrap_err(), KeyError::Exponent, "{e:?}");
    }
}

#[test]
fn leading_zero_octets_make_no_other_key() {
    let plain = rsa(&modulus(2_048), E).unwrap();
    let mut n = vec![0];
    n.extend(modulus(2_048));
    let padded = rsa(&n, &[0, 1, 0, 1]).unwrap();
    assert_eq!(plain.thumbprint(), padded.thumbprint());
}

#[test]
fn curve_points() {
    for (signer, length, curve) in [
        (Signer::P256, 32, "P-256"),
        (Signer::P384, 48, "P-384"),
        (Signer::P521, 66, "P-521"),
    ] {
        let jwk = signer.jwk();
        let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
        for member in ["x", "y"] {
            for bytes in [0, 1, length - 1, length + 1, 2 * length] {
                let mut coordinate = x.clone();
                coordinate.resize(bytes, 0);
                let error = refusal(signer, json!({member: encode(&coordinate)}));
                let expected = length;
                assert_eq!(
                    error,
                    KeyError::Length {
                        member,
                        bytes,
                        expected
                    }
                );
            }
            // Too long by only a leading zero: still not the field's length.
            let mut padded = vec![0];
            padded.extend(&x);
            let error = refusal(signer, json!({member: encode(&padded)}));
            assert!(matches!(error, KeyError::Length { .. }));
        }
        for (x, y) in [
            (jwk["y"].clone(), jwk["x"].clone()),
            (
                json!(encode(&vec![0; length])),
                json!(encode(&vec![0; length])),
            ),
            (json!(encode(&vec![0xff; length])), jwk["y"].clone()),
            (jwk["x"].clone(), json!(encode(&vec![0xff; length]))),
        ] {
            let error = refusal(signer, json!({"x": x, "y": y}));
            assert_eq!(error, KeyError::NotOnCurve { curve });
        }
        for crv in ["secp256k1", "p-256", "P-257", "Ed25519", ""] {
            let error = refusal(signer, json!({"crv": crv}));
            assert!(matches!(error, KeyError::UnsupportedCurve(_)));
        }
    }
    let error = refusal(Signer::P256, json!({"crv": "P-384"}));
    assert!(matches!(error, KeyError::Length { expected: 48, .. }));
}

#[test]
fn ed25519() {
    for bytes in [0, 31, 33, 57, 64] {
        let error = refusal(Signer::Ed25519, json!({"x": encode(&vec![1; bytes])}));
        let (member, expected) = ("x", 32);
        assert_eq!(
            error,
            KeyError::Length {
                member,
                bytes,
                expected
            }
        );
    }
    for crv in ["Ed448", "X25519", "ed25519", "P-256"] {
        let error = refusal(Signer::Ed25519, json!({"crv": crv}));
        assert!(matches!(error, KeyError::UnsupportedCurve(_)));
    }
    let point = |first: u8, last: u8, between: u8| {
        let mut x = [between; 32];
        (x[0], x[31]) = (first, last);
        refusal(Signer::Ed25519, json!({"x": encode(&x)}))
    };
    // No point of the curve has y = 2.
    assert_eq!(point(2, 0, 0), KeyError::NotOnCurve { curve: "Ed25519" });
    // y = 1 (the identity), y = 0 and y = -1: of order 1, 4 and 2.
    assert_eq!(point(1, 0, 0), KeyError::SmallOrder);
    assert_eq!(point(0, 0, 0), KeyError::SmallOrder);
    assert_eq!(point(0, 0x80, 0), KeyError::SmallOrder);
    assert_eq!(point(0xec, 0x7f, 0xff), KeyError::SmallOrder);
    // The same points with y + p, or with the sign bit on x = 0.
    assert_eq!(point(0xee, 0x7f, 0xff), KeyError::NotCanonical);
    assert_eq!(point(0xed, 0x7f, 0xff), KeyError::NotCanonical);
    assert_eq!(point(1, 0x80, 0), KeyError::NotCanonical);
    assert_eq!(point(0xec, 0xff, 0xff), KeyError::NotCanonical);
    // y = p + 3, of a point of large order: only its encoding is wrong.
    assert_eq!(point(0xf0, 0x7f, 0xff), KeyError::NotCanonical);
}

#[test]
fn shared_secrets() {
    let secret = |bytes: usize, members: Value, algorithms: AlgorithmSet| {
        let mut jwk = json!({"kty": "oct", "k": encode(&vec![1; bytes])});
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        Key::from_jwk(&jwk.to_string(), algorithms)
    };
    let none = json!({});
    for bytes in [0, 1, 31] {
        let error = secret(bytes, none.clone(), all_algorithms()).unwrap_err();
        assert!(matches!(error, KeyError::SecretTooShort { .. }));
    }
    for bytes in [32, 48, 64, 65, 1_024] {
        assert!(secret(bytes, none.clone(), all_algorithms()).is_ok());
    }
    for (alg, bytes) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let stated = json!({"alg": alg});
        assert!(secret(bytes, stated.clone(), all_algorithms()).is_ok());
        let error = secret(bytes - 1, stated, all_algorithms()).unwrap_err();
        assert!(matches!(error, KeyError::SecretTooShort { .. }));
    }
    // Only for an issuer that names an HMAC algorithm that the key takes.
    let refused = |bytes, members, algorithms| secret(bytes, members, algorithms).unwrap_err();
    let error = refused(64, none.clone(), AlgorithmSet::ASYMMETRIC);
    assert_eq!(error, KeyError::SymmetricNotAllowed);
    let error = refused(32, none.clone(), algorithms(&["HS512"]));
    assert_eq!(error, KeyError::SymmetricNotAllowed);
    let error = refused(64, json!({"alg": "HS256"}), algorithms(&["HS512"]));
    assert_eq!(error, KeyError::SymmetricNotAllowed);
    assert!(secret(32, none, algorithms(&["RS256", "HS256"])).is_ok());
}

#[test]
fn no_key_material_in_messages() {
    for signer in Signer::ALL {
        let jwk = signer.jwk_with(json!({"kid": "k"}));
        let material: Vec<_> = ["n", "x", "y", "k"]
            .into_iter()
            .filter_map(|name| signer.jwk()[name].as_str().map(str::to_owned))
            .collect();
        let mut texts = vec![format!("{:?}", admit(&jwk).unwrap())];
        for bad in [
            json!({"use": "enc"}),
            json!({"alg": "none"}),
            json!({"key_ops": []}),
            json!({"crv": "x", "n": "A"}),
        ] {
            if let Err(error) = with(signer, bad) {
                texts.extend([error.to_string(), format!("{error:?}")]);
            }
        }
        let entry = read_jwks(&jwk, AlgorithmSet::ASYMMETRIC).unwrap().remove(0);
        texts.push(format!("{entry:?}"));
        for text in texts {
            assert!(
                material.iter().all(|secret| !text.contains(secret)),
                "{text}"
            );
        }
    }
}

// ---- Sets

fn set(keys: &[String]) -> Vec<jwt_verify::JwksEntry> {
    read_jwks(
        &format!("{{\"keys\":[{}]}}", keys.join(", ")),
        all_algorithms(),
    )
    .unwrap()
}

#[test]
fn a_bad_key_does_not_spoil_a_set() {
    let good = Signer::P256.jwk_with(json!({"kid": "good"}));
    let bad = Signer::Rsa.jwk_with(json!({"kid": "bad", "use": "enc"}));
    let entries = set(&[bad.clone(), "7".to_owned(), "null".to_owned(), good.clone()]);
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.index, entry.kid.as_deref(), entry.key.is_ok()))
        .collect();
    assert_eq!(
        found,
        [
            (0, Some("bad"), false),
            (1, None, false),
            (2, None, false),
            (3, Some("good"), true)
        ]
    );
    assert_eq!(entries[0].jwk, bad);
    assert_eq!(entries[3].jwk, good);
    assert!(set(&[]).is_empty());
}

#[test]
fn a_lone_key_is_a_set() {
    let entries = read_jwks(&format!(" {}\n", Signer::P256.jwk()), all_algorithms()).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].jwk, Signer::P256.jwk().to_string());
    assert!(entries[0].key.is_ok());
}

#[test]
fn what_is_no_set() {
    let read = |text: &str| read_jwks(text, all_algorithms()).unwrap_err();
    for text in ["null", "true", "\"x\"", "{", "{\"keys\":[}"] {
        assert!(matches!(read(text), JwksError::Json(_)), "{text}");
    }
    assert_eq!(read("{}"), JwksError::NotASet);
    assert_eq!(read("{\"Keys\":[]}"), JwksError::NotASet);
    for keys in ["null", "{}", "\"x\"", "1", "true"] {
        assert_eq!(
            read(&format!("{{\"keys\":{keys}}}")),
            JwksError::KeysNotAnArray
        );
    }
    let twice = read("{\"keys\":[],\"\\u006beys\":[]}");
    assert_eq!(twice.to_string(), "JWKS has two members \"keys\"");
    let many = format!("{{\"keys\":[{}0]}}", "0,".repeat(MAX_JWKS_KEYS));
    assert_eq!(read(&many), JwksError::TooManyKeys);
    let longest = |bytes: usize| {
        let set = format!("{{\"keys\":[{}]}}", Signer::P256.jwk());
        format!("{set}{}", " ".repeat(bytes - set.len()))
    };
    let entries = read_jwks(&longest(MAX_JWKS_BYTES), all_algorithms()).unwrap();
    assert!(entries.len() == 1 && entries[0].key.is_ok());
    let too_long = longest(MAX_JWKS_BYTES + 1);
    let bytes = MAX_JWKS_BYTES + 1;
    assert_eq!(read(&too_long), JwksError::TooLong { bytes });
}

/// A text that people and servers give in place of a set is called by its name.
#[test]
fn another_document_is_named() {
    let read = |text: &str| read_jwks(text, all_algorithms()).unwrap_err();
    for page in [
        "<!DOCTYPE html>",
        " \n<html></html>",
        "<?xml version=\"1.0\"?>",
    ] {
        assert_eq!(read(page), JwksError::WebPage);
    }
    assert_eq!(read("\u{feff}{\"keys\":[]}"), JwksError::ByteOrderMark);
    assert_eq!(read(""), JwksError::Empty);
    assert_eq!(read(" \n"), JwksError::Empty);
    assert_eq!(read("\n-----BEGIN PUBLIC KEY-----"), JwksError::Pem);
    assert_eq!(read("eyJhbGciOiJSUzI1NiJ9.e30.x"), JwksError::Token);
    assert_eq!(read("callback({\"keys\":[]})"), JwksError::Script);
    assert_eq!(read("/**/ f({})"), JwksError::Script);
    for (text, jwks_uri) in [
        (
            r#"{"issuer":"https://i.example","jwks_uri":"https://i.example/\u001b"}"#,
            Some(Excerpt::new("https://i.example/\u{1b}")),
        ),
        (r#"{"jwks_uri":7}"#, None),
    ] {
        assert_eq!(read(text), JwksError::Discovery { jwks_uri });
    }
    assert_eq!(
        read(r#"{"jwks_uri":"https://i.example","keys":{}}"#),
        JwksError::KeysNotAnArray
    );
    let deep = read(&"[".repeat(100_000));
    assert!(matches!(deep, JwksError::Json(_)), "{deep}");
    let public = Signer::P256.jwk();
    let private = Signer::P256.jwk_with(json!({"d": "AA"}));
    let secret = Signer::Secret.jwk();
    for (text, has_private_key, has_secret) in [
        ("[]".to_owned(), false, false),
        (format!(" [{public}]"), false, false),
        (format!("[{public},{private}]"), true, false),
        (format!("[1,\"d\",null,[{private}]]"), false, false),
        (format!("[{secret}]"), false, true),
        (format!("[{secret},{private}]"), true, true),
    ] {
        let error = read(&text);
        let expected = JwksError::Array {
            has_private_key,
            has_secret,
        };
        assert_eq!(error, expected);
        assert_eq!(error.is_private_key(), has_private_key);
        assert!(error.to_string().contains("{\"keys\": [...]}"));
    }
    for text in ["[", "[01]", "[]x", "\"x\"", "1", "null"] {
        assert!(matches!(read(text), JwksError::Json(_)), "{text}");
    }
}

#[test]
fn two_keys_of_one_name_and_type() {
    let named = |signer: Signer, kid: &str| signer.jwk_with(json!({"kid": kid}));
    let verdicts = |keys: &[String]| {
        let entries = set(keys);
        entries
            .into_iter()
            .map(|entry| entry.key.err())
            .collect::<Vec<_>>()
    };
    let duplicate = Some(KeyError::DuplicateKeyId);
    // Both are refused, and a third with another name or type is not.
    let keys = [
        named(Signer::Ed25519, "a"),
        named(Signer::OtherEd25519, "a"),
        named(Signer::P256, "a"),
        named(Signer::P384, "b"),
    ];
    assert_eq!(
        verdicts(&keys),
        [duplicate.clone(), duplicate.clone(), None, None]
    );
    // P-256 and P-384 keys have the same type.
    let keys = [named(Signer::P256, "a"), named(Signer::P384, "a")];
    assert_eq!(verdicts(&keys), [duplicate.clone(), duplicate]);
    // A key that is unusable anyway does not conflict.
    let unusable = Signer::OtherEd25519.jwk_with(json!({"kid": "a", "use": "enc"}));
    let verdict = verdicts(&[named(Signer::Ed25519, "a"), unusable]);
    assert_eq!(verdict[0], None);
    // Keys without a `kid` do not conflict either.
    let keys = [
        Signer::Ed25519.jwk().to_string(),
        Signer::OtherEd25519.jwk().to_string(),
    ];
    assert_eq!(verdicts(&keys), [None, None]);
}

#[test]
fn the_same_key_again() {
    let jwk = |members: Value| Signer::Rsa.jwk_with(members);
    // The same key: counts once, even if written differently.
    let padded = jwk(json!({"kid": "a", "e": "AAEAAQ", "note": 1}));
    let entries = set(&[jwk(json!({"kid": "a"})), padded]);
    assert_eq!(entries.len(), 1);
    assert!(entries[0].key.is_ok());
    // Under another name or algorithm: an alias (RFC 7517 §4.5 asks for different names of different
    // keys, not for one name of one key).
    for other in [
        json!({"kid": "b"}),
        json!({"kid": ""}),
        json!({"kid": "a", "alg": "RS256"}),
        json!({}),
    ] {
        for keys in [
            [jwk(json!({"kid": "a"})), jwk(other.clone())],
            [jwk(other.clone()), jwk(json!({"kid": "a"}))],
        ] {
            let entries = set(&keys);
            assert_eq!(entries.len(), 2);
            assert!(entries.iter().all(|entry| entry.key.is_ok()), "{other}");
        }
    }
    // For another issuer: nothing says which is meant.
    let entries = set(&[
        jwk(json!({"kid": "a", "issuer": "https://a.example"})),
        jwk(json!({"kid": "a", "issuer": "https://b.example"})),
    ]);
    assert!(entries[0].key.is_ok());
    assert_eq!(entries[1].key.as_ref().unwrap_err(), &KeyError::OtherIssuer);
    // Two names are no cover for another key of one of them.
    let entries = set(&[
        Signer::Ed25519.jwk_with(json!({"kid": "a"})),
        Signer::Ed25519.jwk_with(json!({"kid": "b"})),
        Signer::OtherEd25519.jwk_with(json!({"kid": "b"})),
    ]);
    let usable: Vec<_> = entries.iter().map(|entry| entry.key.is_ok()).collect();
    assert_eq!(usable, [true, false, false]);
}
