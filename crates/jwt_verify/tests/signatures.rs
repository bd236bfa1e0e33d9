//! The signature check alone, by both stacks: they must agree with Wycheproof
//! and with each other, on every vector.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_verify::cross_check::{admit_even_published, verdicts};
use jwt_verify::{Algorithm, read_jwks};
use serde::Deserialize;

use crate::common::cases::{Case, all_algorithms, key_even_published, read, read_cases};
use crate::common::report;

#[derive(Deserialize)]
struct Vector {
    name: String,
    alg: String,
    jwk: serde_json::Value,
    msg: String,
    sig: String,
    expect: String,
}

#[test]
fn wycheproof_raw() {
    let vectors: Vec<Vector> = serde_json::from_slice(&read("wycheproof_raw.json.gz")).unwrap();
    assert_eq!(vectors.len(), 5_378);
    let mut failures = Vec::new();
    // Keys that are not admitted, so that their signatures are never checked.
    let mut not_admitted: BTreeMap<String, usize> = BTreeMap::new();
    for vector in &vectors {
        let (first, second) = match admit_even_published(&vector.jwk.to_string(), all_algorithms())
        {
            Ok(key) => match Algorithm::from_name(&vector.alg) {
                Some(alg) => verdicts(&key, alg, &hex(&vector.msg), &hex(&vector.sig)),
                None => (false, false),
            },
            Err(error) => {
                *not_admitted.entry(error.to_string()).or_default() += 1;
                (false, false)
            }
        };
        if first != second {
            failures.push(format!("{}: {first} but {second}", vector.name));
        }
        let expected = match vector.expect.as_str() {
            _ if KEYS_OF_SECP256K1 == vector.alg => false,
            "accept" => true,
            "reject" => false,
            _ => first,
        };
        if first != expected {
            failures.push(format!("{}: {first}, not {expected}", vector.name));
        }
    }
    let passed = vectors.len() - failures.len();
    report(&format!(
        "conformance: wycheproof_raw: {} cases, {passed} passed; keys not admitted: {not_admitted:?}",
        vectors.len()
    ));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Not supported, so its good signatures are refused too.
const KEYS_OF_SECP256K1: &str = "ES256K";

#[test]
fn wycheproof_jws_signatures() {
    let cases = read_cases("wycheproof_jws.json.gz", 401);
    let mut failures = Vec::new();
    for case in &cases {
        let (first, second) = jws_verdicts(case).unwrap_or((false, false));
        if first != second {
            failures.push(format!("{}: {first} but {second}", case.name));
        }
        let expected = match case.jws_expect.as_deref() {
            Some("accept") => true,
            Some("reject") => false,
            _ => first,
        };
        if first != expected {
            failures.push(format!("{}: {first}, not {expected}", case.name));
        }
    }
    let passed = cases.len() - failures.len();
    report(&format!(
        "conformance: wycheproof_jws_signatures: {} cases, {passed} passed",
        cases.len()
    ));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The stacks' answers about the JWS, whose payload may be any bytes. `None` where no signature
/// check takes place.
fn jws_verdicts(case: &Case) -> Option<(bool, bool)> {
    let (signed, signature) = case.token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    URL_SAFE_NO_PAD.decode(payload).ok()?;
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let alg = Algorithm::from_name(header.get("alg")?.as_str()?)?;
    let kid = header.get("kid").map(|kid| kid.as_str());
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let entries = read_jwks(&case.jwks.as_ref()?.to_string(), all_algorithms()).ok()?;
    let mut keys = entries
        .iter()
        .filter_map(|entry| key_even_published(entry, all_algorithms()).ok())
        .filter(|key| kid.is_none_or(|kid| kid == key.kid()));
    let key = keys.next()?;
    if keys.next().is_some() || header.get("crit").is_some() {
        return None;
    }
    Some(verdicts(&key, alg, signed.as_bytes(), &signature))
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
