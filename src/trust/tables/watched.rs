//! Relations whose changes make found keys doubtful.
//!
//! Postgres may call the callback at almost any point, so this is a set that neither allocates nor
//! locks. It may report a relation that was not added, at the cost of a look-up, but never miss
//! one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Size of the set, large enough that other relations are rarely reported as watched.
const BITS: u32 = 4_096;

static WATCHED: [AtomicU64; (BITS / u64::BITS) as usize] =
    [const { AtomicU64::new(0) }; (BITS / u64::BITS) as usize];

fn place(relation: pgrx::pg_sys::Oid) -> (Option<&'static AtomicU64>, u64) {
    let bit = relation.to_u32() % BITS;
    let word = WATCHED.get((bit / u64::BITS) as usize);
    (word, 1 << (bit % u64::BITS))
}

/// Watches the relation for the rest of the session.
pub fn add(relation: pgrx::pg_sys::Oid) {
    if let (Some(word), bit) = place(relation) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Number of announced changes of watched relations.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Counts a change of a watched relation.
pub fn count_change() {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}

/// Number of changes of watched relations that were announced so far.
pub fn changes() -> u64 {
    CHANGES.load(Ordering::Relaxed)
}

/// Whether the relation is watched; rarely, true for one that is not.
pub fn contain(relation: pgrx::pg_sys::Oid) -> bool {
    match place(relation) {
        (Some(word), bit) => word.load(Ordering::Relaxed) & bit != 0,
        (None, _) => true,
    }
}
