//! Lines in the server's log about a source whose state has changed, one line a session.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use jwks_rules::fetch_state::KeyState;
use jwt_verify::UnixTime;
use lru::LruCache;
use pgrx::pg_sys;

use crate::pg::report;
use crate::trust::lookup::seen::Seen;
use crate::trust::lookup::{Sight, SightState};

/// Number of sources whose last state is kept; more than a server is likely to have, at few bytes
/// each.
const MAX_SOURCES: NonZeroUsize = NonZeroUsize::new(1_000).expect("not 0");

thread_local! {
    /// Last state of each issuer's source.
    static SEEN: RefCell<LruCache<Box<str>, Known>> = RefCell::new(LruCache::new(MAX_SOURCES));
}

/// The state of a source.
#[derive(Clone, PartialEq, Eq)]
enum Known {
    Table(SightState),
    Endpoint(KeyState),
}

/// Logs the state of a followed table if it differs from the former one, or if it is the first one
/// and the table cannot be used. A lock is not logged, because it is temporary.
pub fn tell(sight: &Sight) {
    if sight.state == SightState::Locked {
        return;
    }
    let is_first_news = matches!(sight.state, SightState::Missing(_));
    if is_news(
        &sight.issuer,
        Known::Table(sight.state.clone()),
        is_first_news,
    ) {
        report::log_to_server(&sight.log_line());
    }
}

/// As [`tell`], for an endpoint. The state "never fetched" is no news: every new endpoint is in it
/// for a moment, and a fetch that fails is logged.
pub fn tell_of_endpoint(seen: &Seen, now: UnixTime) {
    let state = seen.state(now);
    if state == KeyState::Missing {
        return;
    }
    let is_first_news = state == KeyState::Stale;
    if is_news(&seen.issuer, Known::Endpoint(state), is_first_news) {
        report::log_to_server(&seen.log_line(state));
    }
}

/// Whether the issuer's source was in another state before; notes the new one. `is_first_news`
/// answers for a source seen for the first time.
fn is_news(issuer: &str, state: Known, is_first_news: bool) -> bool {
    // Parallel workers leave the line to their leader.
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        return false;
    }
    SEEN.with_borrow_mut(|seen| match seen.get_mut(issuer) {
        Some(known) => std::mem::replace(known, state.clone()) != state,
        None => {
            seen.put(issuer.into(), state);
            is_first_news
        }
    })
}
