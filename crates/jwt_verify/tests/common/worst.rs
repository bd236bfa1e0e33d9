//! The worst cases of 64 KiB of token or key.

use jwt_verify::limits::{MAX_JWK_BYTES, MAX_TOKEN_BYTES};
use jwt_verify::{Keyring, Policy};
use serde_json::json;

use super::sign::{ISSUER, Signer, encode, keyring_with, lenient};

/// A keyring with the one key that the tokens name.
pub fn keyring() -> Keyring {
    keyring_with(Signer::Ed25519, lenient())
}

/// A keyring with 10,000 more keys.
pub fn large_keyring() -> Keyring {
    let jwk = Signer::P256.jwk().to_string();
    let mut keyring = Keyring::new();
    keyring.add_issuer(ISSUER, Policy { ..lenient() });
    for index in 0..10_000 {
        keyring.add_key(ISSUER, Some(&index.to_string()), None, &jwk, None);
    }
    let jwk = Signer::Ed25519.jwk().to_string();
    keyring.add_key(ISSUER, Some("k"), None, &jwk, None);
    keyring
}

/// Good tokens that name the key, another key and none.
pub fn short_tokens() -> [String; 3] {
    let payload = json!({"iss": ISSUER}).to_string();
    [
        json!({"alg": "EdDSA", "kid": "k"}),
        json!({"alg": "EdDSA", "kid": "x"}),
        json!({"alg": "EdDSA"}),
    ]
    .map(|header| Signer::Ed25519.token("EdDSA", &header.to_string(), &payload))
}

/// A token of nearly [`MAX_TOKEN_BYTES`] whose payload is `unit` repeated
/// between the other two.
fn token(open: &str, unit: &str, close: &str) -> String {
    let header = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    let room = MAX_TOKEN_BYTES * 3 / 4 - header.len() - open.len() - close.len() - 80;
    let payload = format!("{open}{}{close}", unit.repeat(room / unit.len()));
    let token = format!(
        "{}.{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes()),
        encode(&[7; 64])
    );
    assert!(token.len() <= MAX_TOKEN_BYTES && token.len() > MAX_TOKEN_BYTES - 4_096);
    token
}

/// The same for the header.
fn token_by_header(open: &str, unit: &str, close: &str) -> String {
    let token = token(open, unit, close);
    let payload = token.split('.').nth(1).unwrap();
    format!("{payload}.{}.{}", encode(b"{}"), encode(&[7; 64]))
}

fn members(count: usize) -> String {
    let members: Vec<_> = (0..count).map(|index| format!("\"{index:x}\":0")).collect();
    format!("{{\"iss\":\"{ISSUER}\",{}}}", members.join(","))
}

/// An ordinary token of the same length, with a wrong signature.
pub fn ordinary() -> String {
    let open = format!("{{\"iss\":\"{ISSUER}\",\"roles\":[");
    token(&open, "\"customer:read\",", "\"x\"]}")
}

/// Refused tokens, each of which causes as much work as its kind can.
pub fn tokens() -> Vec<(&'static str, String)> {
    let iss = format!("{{\"iss\":\"{ISSUER}\"");
    let open = |name: &str| format!("{iss},\"{name}\":[");
    let header = encode(json!({"alg": "EdDSA", "kid": "k"}).to_string().as_bytes());
    let empty = encode(format!("{iss}}}").as_bytes());
    let signature = encode(&[7; 64]);
    let long_signature = "A".repeat(MAX_TOKEN_BYTES - header.len() - empty.len() - 2);
    let of_members = |count| format!("{header}.{}.{signature}", encode(members(count).as_bytes()));
    let escaped_names = (0..1_700)
        .map(|index| {
            format!(
                "\"{}\":0",
                format!("{index:04}")
                    .replace('0', "\\u0030")
                    .replace('1', "\\u0031")
            )
        })
        .collect::<Vec<_>>()
        .join(",");
    vec![
        ("deep arrays", token(&open("d"), "[", "")),
        (
            "deep arrays in the header",
            token_by_header("{\"d\":", "[", ""),
        ),
        ("deep objects", token(&open("d"), "{\"\":", "")),
        ("as deep as allowed, again and again", {
            let (open_all, close_all) = ("[".repeat(126), "]".repeat(126));
            token(&open("d"), &format!("{open_all}{close_all},"), "0]}")
        }),
        ("deep and unclosed in aud", token(&open("aud"), "[", "")),
        ("empty arrays", token(&open("d"), "[],", "0]}")),
        ("members", of_members(6_000)),
        ("members in the header", {
            let members = members(6_000).replace("iss", "kid");
            format!("{}.{empty}.{signature}", encode(members.as_bytes()))
        }),
        (
            "members of one name",
            token(&format!("{iss},"), "\"\":0,", "\"a\":0}"),
        ),
        (
            "escaped names",
            format!(
                "{header}.{}.{signature}",
                encode(format!("{{{escaped_names}}}").as_bytes())
            ),
        ),
        (
            "escapes",
            token(&format!("{iss},\"e\":\""), "\\u0041", "\"}"),
        ),
        (
            "short escapes",
            token(&format!("{iss},\"e\":\""), "\\n", "\"}"),
        ),
        (
            "a NUL at the end",
            token(&format!("{iss},\"e\":\""), "x", "\\u0000\"}"),
        ),
        ("integers", token(&open("n"), "1,", "1]}")),
        ("floats", token(&open("n"), "1.5e-9,", "1]}")),
        ("tiny floats", token(&open("n"), "9e-999,", "1]}")),
        ("a long integer", token(&format!("{iss},\"n\":"), "9", "}")),
        (
            "a long fraction",
            token(&format!("{iss},\"n\":0."), "9", "}"),
        ),
        (
            "zeros after the point",
            token(&format!("{iss},\"n\":0."), "0", "1}"),
        ),
        (
            "a long exponent",
            token(&format!("{iss},\"n\":1e-"), "9", "}"),
        ),
        (
            "an audience of many",
            token(&open("aud"), "\"\",", "\"x\"]}"),
        ),
        (
            "an audience of many escaped",
            token(&open("aud"), "\"\\n\",", "\"x\"]}"),
        ),
        ("white space", token(&iss, " \n", "}")),
        (
            "a long kid",
            token_by_header("{\"alg\":\"EdDSA\",\"kid\":\"", "k", "\"}"),
        ),
        (
            "a long kid of control characters",
            token_by_header("{\"alg\":\"EdDSA\",\"kid\":\"", "\\u0001", "\"}"),
        ),
        ("a long alg", token_by_header("{\"alg\":\"", "x", "\"}")),
        (
            "a long typ",
            token_by_header("{\"alg\":\"EdDSA\",\"typ\":\"", "x", "\"}"),
        ),
        ("a long iss", token("{\"iss\":\"", "x", "\"}")),
        ("dots", ".".repeat(MAX_TOKEN_BYTES)),
        ("letters", "a".repeat(MAX_TOKEN_BYTES)),
        (
            "a long signature",
            format!("{header}.{empty}.{long_signature}"),
        ),
        ("spaces", " ".repeat(MAX_TOKEN_BYTES)),
        ("quotes", "\"".repeat(MAX_TOKEN_BYTES)),
        ("too long", "a.".repeat(10 * MAX_TOKEN_BYTES)),
    ]
}

/// A refused JWK of the same length, for comparison.
pub fn ordinary_jwk() -> String {
    fill(
        "{\"kty\":\"RSA\",\"x5c\":[",
        "\"MIIabcdefghijklmnop\",",
        "\"\"]}",
    )
}

/// JWKs that cause as much work as their kind can.
pub fn jwks() -> Vec<(&'static str, String)> {
    let n = Signer::Rsa.jwk()["n"].as_str().unwrap().to_owned();
    vec![
        (
            "a long modulus",
            fill("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"", "f", "\"}"),
        ),
        (
            "a long exponent",
            fill(
                &format!("{{\"kty\":\"RSA\",\"n\":\"{n}\",\"e\":\""),
                "f",
                "\"}",
            ),
        ),
        (
            "zeros before the modulus",
            fill("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"", "A", "\"}"),
        ),
        (
            "a long coordinate",
            fill("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"", "f", "\"}"),
        ),
        (
            "a long secret",
            fill("{\"kty\":\"oct\",\"k\":\"", "f", "\"}"),
        ),
        (
            "operations",
            fill("{\"kty\":\"RSA\",\"key_ops\":[", "\"\",", "\"\"]}"),
        ),
        ("deep", fill("{\"kty\":", "[", "")),
    ]
}

fn fill(open: &str, unit: &str, close: &str) -> String {
    let count = (MAX_JWK_BYTES - open.len() - close.len()) / unit.len();
    format!("{open}{}{close}", unit.repeat(count))
}
