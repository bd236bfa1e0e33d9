//! Hooks and reader of the setting that holds the session's token.
//!
//! The hooks run outside of pgrx's guard. They change their argument and an atomic, or read the variable:
//! they cannot panic or raise.

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use crate::errors::token_too_long;
use crate::pg::report::Report;
use crate::settings::table::TOKEN;

/// Set when Postgres assigns the token, in any way.
static ASSIGNED: AtomicBool = AtomicBool::new(true);

/// A token comes from the session, never from a default that is stored for a role or a database:
/// any role may store one for itself (ALTER ROLE ... SET), and if many users share the role, each
/// of them would start with that user's identity.
///
/// The value is replaced by an empty one and not refused: a refusal would quote it.
pub unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    use pg_sys::GucSource::{PGC_S_DATABASE_USER, PGC_S_ENV_VAR};
    if (PGC_S_ENV_VAR..=PGC_S_DATABASE_USER).contains(&source) {
        // SAFETY: Postgres passes a NUL-terminated copy that it made for this assignment.
        unsafe {
            if !(*value).is_null() {
                **value = 0;
            }
        }
    }
    true
}

/// Text that SHOW, `current_setting` and `set_config` return instead of the token: only whether
/// there is one.
pub unsafe extern "C-unwind" fn show() -> *const c_char {
    // SAFETY: Postgres keeps the variable pointing to NULL or to a NUL-terminated string.
    let is_empty = unsafe {
        let value = *TOKEN.text.as_ptr();
        value.is_null() || *value == 0
    };
    if is_empty {
        c"".as_ptr()
    } else {
        c"<token>".as_ptr()
    }
}

pub unsafe extern "C-unwind" fn assigned(_value: *const c_char, _extra: *mut c_void) {
    note_assigned();
}

/// Makes the next use check the token again.
pub fn note_assigned() {
    ASSIGNED.store(true, Ordering::Relaxed);
}

/// Whether the token was assigned since [`clear_assigned`].
#[inline]
pub fn was_assigned() -> bool {
    ASSIGNED.load(Ordering::Relaxed)
}

/// Must be called before the token is read, so that no assignment is missed.
pub fn clear_assigned() {
    ASSIGNED.store(false, Ordering::Relaxed);
}

/// Calls `look` with the token, which is empty if there is none.
///
/// The token is borrowed, so `look` must call nothing that could assign the setting.
///
/// # Errors
///
/// If it is longer than any token, so that it is never copied: a setting may be as long as a
/// statement, and if Rust cannot allocate memory it ends the process, and Postgres then restarts
/// all its processes.
pub fn with<T>(look: impl FnOnce(&[u8]) -> T) -> Result<T, Report> {
    // SAFETY: Postgres keeps the variable pointing to NULL or to a NUL-terminated string, which
    // lives until the next assignment.
    let token = unsafe {
        let value = *TOKEN.text.as_ptr();
        if value.is_null() {
            c""
        } else {
            CStr::from_ptr(value)
        }
    };
    let bytes = token.count_bytes();
    if bytes > jwt_verify::limits::MAX_TOKEN_BYTES {
        return Err(token_too_long(bytes));
    }
    Ok(look(token.to_bytes()))
}
