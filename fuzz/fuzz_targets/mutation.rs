//! A good token with changes: no change of signed bytes is ever accepted.
#![no_main]

#[path = "../../crates/jwt_verify/tests/common/mod.rs"]
mod common;

use common::harness::{changed_token, good_token};
use common::sign::Signer;
use std::sync::LazyLock;

/// One good token for each key and algorithm: signing takes longer than checking.
static GOOD: LazyLock<Vec<(Signer, String)>> = LazyLock::new(|| {
    let algorithms = |signer: Signer| signer.algorithms().iter().map(move |alg| (signer, alg));
    Signer::ALL
        .into_iter()
        .flat_map(algorithms)
        .map(|(signer, alg)| (signer, good_token(signer, alg)))
        .collect()
});

// The first byte chooses the token. Then each three bytes are a position and what to put there: a
// byte, a deletion, or a piece of another token.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((choice, changes)) = data.split_first() else { return };
    let (signer, good) = &GOOD[usize::from(*choice) % GOOD.len()];
    let mut changed = good.clone().into_bytes();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len().max(1);
        match change[2] {
            0 if !changed.is_empty() => drop(changed.remove(place)),
            1 => changed.truncate(place),
            2 => changed.extend_from_slice(b"."),
            3 => {
                let (_, other) = &GOOD[place % GOOD.len()];
                let from = place % other.len();
                changed.truncate(from);
                changed.extend_from_slice(&other.as_bytes()[from..]);
            }
            byte if !changed.is_empty() => changed[place] = byte,
            _ => {}
        }
    }
    // If the result is another complete good token, the token was swapped and not changed.
    if GOOD.iter().any(|(_, other)| other != good && other.as_bytes() == changed) {
        return;
    }
    if let Ok(changed) = std::str::from_utf8(&changed) {
        changed_token(*signer, good, changed);
    }
});
