//! One line in the server's log when a session sees a source in another state than before.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use lru::LruCache;
use pgrx::pg_sys;

use crate::pg::report;
use crate::trust::lookup::{Sight, State};

/// For how many sources the last state is kept; more than a server is likely to have, at few
/// bytes each.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(1_000).expect("not 0");

thread_local! {
    /// By issuer.
    static SEEN: RefCell<LruCache<Box<str>, State>> = RefCell::new(LruCache::new(MAX_SOURCES));
}

/// Logs the state if it is new: another one than before, or a first one in which the source cannot
/// be used. A lock is not logged, because it is temporary.
pub fn tell(sight: &Sight) {
    // Parallel workers leave the line to their leader.
    // SAFETY: reads a variable of the backend.
    if sight.state == State::Locked || unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        return;
    }
    let before = SEEN.with_borrow_mut(|seen| {
        let known = seen.get(&sight.issuer).cloned();
        if known.as_ref() != Some(&sight.state) {
            seen.put(sight.issuer.clone(), sight.state.clone());
        }
        known
    });
    let is_news = match &before {
        None => matches!(sight.state, State::Missing(_)),
        Some(before) => *before != sight.state,
    };
    if is_news {
        report::log_to_server(&sight.log_line());
    }
}
