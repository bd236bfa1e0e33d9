//! Citus: its workers verify the token themselves, if the coordinator passes it on to them, and have
//! the role that it gives.
//!
//! With `citus.propagate_set_commands = 'local'`, Citus sends each SET LOCAL of a transaction to the
//! workers that take part in it (`PostprocessVariableSetStmt` in its
//! src/backend/distributed/commands/variableset.c). Its utility hook sees them there, which does not
//! see a function that changes a setting.

use std::ffi::{CStr, c_char};

use crate::pg::set_local;
use crate::pg::unguarded;
use crate::redaction;

/// Makes a setting of the transaction known to Citus, if Citus wants to know. It is set by that, too.
///
/// # Safety
///
/// An error leaves by `longjmp`. `name` must be one that needs no quotes, and `value` be
/// NUL-terminated.
#[inline]
pub unsafe fn pass_on(name: &CStr, value: *const c_char) {
    if redaction::hooks::are_others_beside_utility() && propagates() {
        // SAFETY: as the caller promises.
        unsafe { set_local::as_statement(name, value) }
    }
}

/// Whether Citus propagates SET LOCAL. It has no other value beside `none`.
fn propagates() -> bool {
    // SAFETY: the name is NUL-terminated, and the result NULL if there is no such setting, else
    // NUL-terminated.
    unsafe {
        let value =
            unguarded::GetConfigOption(c"citus.propagate_set_commands".as_ptr(), true, false);
        !value.is_null()
            && CStr::from_ptr(value)
                .to_bytes()
                .eq_ignore_ascii_case(b"local")
    }
}
