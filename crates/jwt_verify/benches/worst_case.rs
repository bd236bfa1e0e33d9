//! Compares the time for the worst 64 KiB with that for an ordinary refused token of that length.
//! Fails where it is more than a few times as long. Part of `make soak`, because timing is
//! unreliable on a busy machine; tests/bounded_work.rs counts what needs no clock.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::sign::NOW;
use common::{PLACES, worst};
use jwt_verify::{AlgorithmSet, Key, Keyring, inspect, unverified_claims, verify};

/// Maximum ratio of the time of a worst case to that of an ordinary refusal.
const TIMES: u32 = 10;

/// The shortest of several times: disturbances only add time.
fn time(mut work: impl FnMut()) -> Duration {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..10).map(|_| once(&mut work)).min().unwrap_or_default()
}

#[derive(Default)]
struct Worst {
    failed: bool,
}

impl Worst {
    /// Reports the slowest of the cases, and fails if it takes more than `times` as long as `base`.
    fn check(
        &mut self,
        what: &str,
        base: Duration,
        times: u32,
        cases: impl IntoIterator<Item = (&'static str, Duration)>,
    ) {
        let (case, slowest) = cases.into_iter().max_by_key(|case| case.1).unwrap();
        let ratio = slowest.as_secs_f64() / base.as_secs_f64();
        println!("{what}: at most {ratio:.1} times an ordinary one ({case}); allowed are {times}");
        if slowest > base * times {
            self.failed = true;
        }
    }
}

fn main() -> ExitCode {
    // Otherwise `cargo test --all-targets` would run it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let (one, many) = (worst::keyring(), worst::large_keyring());
    let ordinary = worst::ordinary();
    let mut worst = Worst::default();

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
    let base = time(|| drop(black_box(verify(&ordinary, &one, NOW))));
    let tokens = worst::tokens();
    for (name, work) in works {
        let times = tokens
            .iter()
            .map(|(case, token)| (*case, time(|| work(token, &one))));
        worst.check(name, base, TIMES, times);
    }

    let [named, unknown, nameless] = worst::short_tokens();
    let look =
        |token: &str, keyring: &Keyring| time(|| drop(black_box(verify(token, keyring, NOW))));
    let base = look(&named, &one);
    let times = [
        ("named", &named),
        ("unknown", &unknown),
        ("nameless", &nameless),
    ]
    .map(|(case, token)| (case, look(token, &many)));
    worst.check("one of 10,000 keys", base, 2, times);
    // This case takes a walk through the names.
    let base = time(|| drop(black_box(inspect(&ordinary, &one, NOW, &PLACES))));
    let walk = time(|| drop(black_box(inspect(&unknown, &many, NOW, &PLACES))));
    worst.check(
        "inspect with 10,000 keys",
        base,
        TIMES * 4,
        [("unknown", walk)],
    );

    let admit = |jwk: &str| time(|| drop(black_box(Key::from_jwk(jwk, AlgorithmSet::ASYMMETRIC))));
    let base = admit(&worst::ordinary_jwk());
    let jwks = worst::jwks();
    let times = jwks.iter().map(|(case, jwk)| (*case, admit(jwk)));
    worst.check("a JWK", base, TIMES * 4, times);

    match worst.failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
