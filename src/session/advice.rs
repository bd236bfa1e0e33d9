//! Advice that `auth.jwt_session_init` gives a connection once: about mistakes of the set-up that
//! raise no error.
//!
//! Only once, because advice at each sign-in would fill the client's log, and because the check
//! costs more than signing in. `DISCARD ALL` does not repeat it: the mistake is one of the role and
//! the pooler, not of one client, and the server's log has it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::pg::report;
use crate::pg::row_security;
use crate::session::errors;

/// Whether this connection's role was checked.
static ROLE_WAS_CHECKED: AtomicBool = AtomicBool::new(false);

/// Whether this connection was told that a token is set for the session.
static SCOPE_WAS_TOLD: AtomicBool = AtomicBool::new(false);

/// Warns if no policies apply to the role that signs in: it sees all rows, whatever the token.
#[inline]
pub fn on_role() {
    if !ROLE_WAS_CHECKED.load(Ordering::Relaxed) {
        check_role();
    }
}

#[cold]
fn check_role() {
    ROLE_WAS_CHECKED.store(true, Ordering::Relaxed);
    if let Some(exemption) = row_security::exemption() {
        report::warning(&errors::policies_do_not_apply(&exemption));
    }
}

/// Tells that a token was set for the session, and nobody has asked for that.
pub fn on_session_scope() {
    if !SCOPE_WAS_TOLD.swap(true, Ordering::Relaxed) {
        report::notice(&errors::set_for_session());
    }
}
