//! A session that its issuer ends while one statement of the client runs on.
//!
//! A DO block, a procedure, and a message of several statements can take hours, and nothing
//! announces that a session has ended. So it is looked for again when the executor starts a query
//! that no other query calls. A query that another one calls may run once for each row: for these,
//! and for cursors, the session is looked for again after [`PATIENCE`].

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use crate::pg::unguarded;
use crate::session::{self, execution};
use crate::trust::sessions;

/// Time for which a session that was there counts as there within one query, in microseconds. A
/// look costs some of them.
const PATIENCE: pg_sys::TimestampTz = 100_000;

/// Whether the last look was for a query that the executor has started since, or works on; false after
/// one of the planner.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// The session's identity was determined, maybe with a look.
pub fn identity_is_known() {
    // The planner's look is good for the query that it plans.
    IS_USED.store(!execution::is_planning(), Ordering::Relaxed);
}

/// The executor starts a query. Called in a hook: cannot raise.
#[inline]
pub fn query_starts() {
    if sessions::last_look().is_some() {
        look_again(!execution::is_within_query());
    }
}

/// The executor goes on with a query that belongs to an identity. Called in a hook: cannot raise.
#[inline]
pub fn query_goes_on() {
    if sessions::last_look().is_some() {
        look_again(false);
    }
}

#[cold]
fn look_again(at_once: bool) {
    let is_used = IS_USED.swap(true, Ordering::Relaxed);
    let has_aged = || {
        let since = sessions::last_look().unwrap_or_default();
        let age = unguarded::GetCurrentTimestamp().wrapping_sub(since);
        // A clock that was set back makes no look good for longer.
        !(0..PATIENCE).contains(&age)
    };
    // The planner's look may be older than the query, too: planning may have ended in an error.
    if (is_used && at_once) || has_aged() {
        session::doubt();
    }
}
