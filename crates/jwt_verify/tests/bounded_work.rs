//! The worst that 64 KiB can do, against an ordinary token of that length that
//! is refused: a few times the time at most, and bounded memory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "a global allocator cannot be wrapped without"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::sign::{ISSUER, NOW, Signer, encode, keyring_with, lenient};
use common::{PLACES, report};
use jwt_verify::limits::{MAX_JWK_BYTES, MAX_TOKEN_BYTES};
use jwt_verify::{AlgorithmSet, Key, Keyring, Policy, inspect, unverified_claims, verify};
use serde_json::json;

/// Counts what is allocated, and the most that was at once.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much more time than an ordinary refusal a worst case may take.
const TIMES: u32 = 10;

/// How much memory a worst case may take: JSON values are larger in memory
/// than in the shortest text that makes one (`"":0,` is 5 bytes and 56).
const MEMORY: usize = 32 * MAX_TOKEN_BYTES;

struct Cost {
    time: Duration,
    memory: usize,
}

fn cost(mut work: impl FnMut()) -> Cost {
    work();
    let mut best = Cost {
        time: Duration::MAX,
        memory: 0,
    };
    // The shortest of several times: what disturbs only adds.
    for _ in 0..9 {
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let start = Instant::now();
        work();
        best.time = best.time.min(start.elapsed());
        best.memory = best.memory.max(PEAK.load(Relaxed) - before);
    }
    best
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

#[test]
fn no_token_costs_more_than_a_few_ordinary_ones() {
    let keyring = keyring_with(Signer::Ed25519, lenient());
    let iss = format!("{{\"iss\":\"{ISSUER}\"");
    let open = |name: &str| format!("{iss},\"{name}\":[");
    let ordinary = token(&open("roles"), "\"customer:read\",", "\"x\"]}");
    let error = verify(&ordinary, &keyring, NOW).unwrap_err();
    assert!(error.to_string().contains("signature does not match"));

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
    let cases = [
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
    ];

    type Work = fn(&str, &Keyring);
    let works: [(&str, Work); 3] = [
        ("verify", |token, keyring| {
            drop(black_box(verify(token, keyring, NOW)))
        }),
        ("inspect", |token, keyring| {
            drop(black_box(inspect(token, keyring, NOW, &PLACES)))
        }),
        ("unverified_claims", |token, _| {
            drop(black_box(unverified_claims(token)))
        }),
    ];
    let base = cost(|| drop(black_box(verify(&ordinary, &keyring, NOW))));
    for (name, work) in works {
        let mut worst = (0.0f64, "");
        let mut most = (0usize, "");
        for (case, token) in &cases {
            assert!(verify(token, &keyring, NOW).is_err(), "{case}");
            let cost = || cost(|| work(token, &keyring));
            // Whatever else the machine does, it does not do three times.
            let mut found = cost();
            for _ in 0..2 {
                if found.time > base.time * TIMES {
                    found.time = found.time.min(cost().time);
                }
            }
            let cost = found;
            let times = cost.time.as_secs_f64() / base.time.as_secs_f64();
            worst = if times > worst.0 {
                (times, case)
            } else {
                worst
            };
            most = most.max((cost.memory, case));
            assert!(
                cost.time <= base.time * TIMES,
                "{name}, {case}: {times:.1} times"
            );
            assert!(
                cost.memory <= MEMORY,
                "{name}, {case}: {} bytes",
                cost.memory
            );
        }
        report(&format!(
            "bounded work: {name}: {} cases, worst {:.1} times an ordinary token ({}), most memory {} KiB ({})",
            cases.len(),
            worst.0,
            worst.1,
            most.0 / 1_024,
            most.1
        ));
    }
    many_keys(&ordinary, &keyring);
    long_keys();
}

/// A lookup among 10,000 keys is no dearer than among one, with a `kid` or
/// without. Called from the one test, as memory is counted for the process.
fn many_keys(ordinary: &str, one: &Keyring) {
    let jwk = Signer::P256.jwk().to_string();
    let mut many = Keyring::new();
    many.add_issuer(ISSUER, Policy { ..lenient() });
    for index in 0..10_000 {
        many.add_key(ISSUER, Some(&index.to_string()), None, &jwk, None);
    }
    many.add_key(
        ISSUER,
        Some("k"),
        None,
        &Signer::Ed25519.jwk().to_string(),
        None,
    );
    let payload = json!({"iss": ISSUER}).to_string();
    let token =
        |header: serde_json::Value| Signer::Ed25519.token("EdDSA", &header.to_string(), &payload);
    let named = token(json!({"alg": "EdDSA", "kid": "k"}));
    let unknown = token(json!({"alg": "EdDSA", "kid": "x"}));
    let nameless = token(json!({"alg": "EdDSA"}));
    assert!(verify(&named, &many, NOW).is_ok());
    assert!(verify(&unknown, &many, NOW).is_err());
    assert!(verify(&nameless, &many, NOW).is_err());

    let look =
        |token: &str, keyring: &Keyring| cost(|| drop(black_box(verify(token, keyring, NOW))));
    let base = look(&named, one).time;
    for token in [&named, &unknown, &nameless] {
        assert!(look(token, &many).time <= base * 2);
    }
    // To inspect takes a walk through the names: still less than a long token.
    let inspected = cost(|| drop(black_box(inspect(&unknown, &many, NOW, &PLACES))));
    let base = cost(|| drop(black_box(inspect(ordinary, one, NOW, &PLACES))));
    assert!(inspected.time <= base.time * TIMES * 4);
}

/// A JWK of 64 KiB is refused, or admitted, in bounded time and memory.
fn long_keys() {
    let admit = |jwk: &str| cost(|| drop(black_box(Key::from_jwk(jwk, AlgorithmSet::ASYMMETRIC))));
    let fill = |open: &str, unit: &str, close: &str| {
        let count = (MAX_JWK_BYTES - open.len() - close.len()) / unit.len();
        format!("{open}{}{close}", unit.repeat(count))
    };
    let n = Signer::Rsa.jwk()["n"].as_str().unwrap().to_owned();
    let base = admit(&fill(
        "{\"kty\":\"RSA\",\"x5c\":[",
        "\"MIIabcdefghijklmnop\",",
        "\"\"]}",
    ));
    for (case, jwk) in [
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
    ] {
        let cost = admit(&jwk);
        let times = cost.time.as_secs_f64() / base.time.as_secs_f64();
        assert!(
            cost.time <= base.time * TIMES * 4,
            "{case}: {times:.1} times"
        );
        assert!(cost.memory <= MEMORY, "{case}: {} bytes", cost.memory);
    }
}
