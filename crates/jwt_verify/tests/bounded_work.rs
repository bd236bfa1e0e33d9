//! The worst that 64 KiB of token can cause, compared with an ordinary refused token of that
//! length: bounded memory, a bounded number of allocations, and at most one check of a signature.
//! This test does not measure time; `make soak` does (benches/worst_case.rs).

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

use common::sign::NOW;
use common::{PLACES, report, worst};
use jwt_verify::cross_check::signature_checks;
use jwt_verify::limits::MAX_TOKEN_BYTES;
use jwt_verify::{AlgorithmSet, Key, Keyring, inspect, unverified_claims, verify};

/// Counts the allocated bytes and allocations, and the most bytes in use at once.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        TOTAL.fetch_add(layout.size(), Relaxed);
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory in use at once for a worst case: JSON values are larger in memory than in the
/// shortest text that makes one (`"":0,` has 5 bytes and takes 56).
const PEAK_BYTES: usize = 32 * MAX_TOKEN_BYTES;

/// All bytes that it may allocate, freed or not: growing vectors are copied a few times.
const TOTAL_BYTES: usize = 2 * PEAK_BYTES;

/// One allocation for each member or escaped string, the shortest of which takes 3 bytes of JSON.
const MOST_ALLOCATIONS: usize = MAX_TOKEN_BYTES / 3;

#[derive(Clone, Copy, Debug)]
struct Cost {
    peak: usize,
    total: usize,
    allocations: usize,
    signature_checks: usize,
}

fn cost(mut work: impl FnMut()) -> Cost {
    // One-time work, such as the choice of a crypto provider, is not counted.
    work();
    let before = (
        LIVE.load(Relaxed),
        TOTAL.load(Relaxed),
        ALLOCATIONS.load(Relaxed),
        signature_checks(),
    );
    PEAK.store(before.0, Relaxed);
    work();
    Cost {
        peak: PEAK.load(Relaxed) - before.0,
        total: TOTAL.load(Relaxed) - before.1,
        allocations: ALLOCATIONS.load(Relaxed) - before.2,
        signature_checks: signature_checks() - before.3,
    }
}

#[track_caller]
fn assert_bounded(case: &str, cost: Cost) {
    assert!(cost.peak <= PEAK_BYTES, "{case}: {cost:?}");
    assert!(cost.total <= TOTAL_BYTES, "{case}: {cost:?}");
    assert!(cost.allocations <= MOST_ALLOCATIONS, "{case}: {cost:?}");
    assert!(cost.signature_checks <= 1, "{case}: {cost:?}");
}

/// One test, because the allocator counts for the whole process.
#[test]
fn the_work_is_bounded() {
    long_tokens();
    many_keys();
    long_keys();
}

fn long_tokens() {
    let keyring = worst::keyring();
    let ordinary = worst::ordinary();
    let error = verify(&ordinary, &keyring, NOW).unwrap_err();
    assert!(error.to_string().contains("signature does not match"));
    let checked = cost(|| drop(black_box(verify(&ordinary, &keyring, NOW))));
    assert_eq!(checked.signature_checks, 1);

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
    let cases = worst::tokens();
    for (name, work) in works {
        let (mut peak, mut allocations) = ((0, ""), (0, ""));
        for (case, token) in &cases {
            assert!(verify(token, &keyring, NOW).is_err(), "{case}");
            let cost = cost(|| work(token, &keyring));
            assert_bounded(&format!("{name}, {case}"), cost);
            peak = peak.max((cost.peak, case));
            allocations = allocations.max((cost.allocations, case));
        }
        report(&format!(
            "bounded work: {name}: {} cases, most memory {} KiB ({}), most allocations {} ({})",
            cases.len(),
            peak.0 / 1_024,
            peak.1,
            allocations.0,
            allocations.1
        ));
    }
}

/// A lookup among 10,000 keys costs the same as one among a single key, with a `kid` or without.
fn many_keys() {
    let (one, many) = (worst::keyring(), worst::large_keyring());
    let [named, unknown, nameless] = worst::short_tokens();
    assert!(verify(&named, &many, NOW).is_ok());
    assert!(verify(&unknown, &many, NOW).is_err());
    assert!(verify(&nameless, &many, NOW).is_err());
    let look =
        |token: &str, keyring: &Keyring| cost(|| drop(black_box(verify(token, keyring, NOW))));
    let base = look(&named, &one);
    for (token, checks) in [(&named, 1), (&unknown, 0), (&nameless, 0)] {
        let cost = look(token, &many);
        assert!(cost.allocations <= base.allocations, "{cost:?}, {base:?}");
        assert_eq!(cost.signature_checks, checks);
    }
}

/// A JWK of 64 KiB is refused, or admitted, in bounded memory.
fn long_keys() {
    for (case, jwk) in worst::jwks() {
        let cost = cost(|| drop(black_box(Key::from_jwk(&jwk, AlgorithmSet::ASYMMETRIC))));
        assert_bounded(case, cost);
    }
}
