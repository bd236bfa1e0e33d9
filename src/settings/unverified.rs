//! Settings in which other software hands over the user: pg_session_jwt, and `PostgREST`, whose
//! settings Supabase's functions read too.
//!
//! They are never read for a claim, because any SQL can set them. If one of them is set and there
//! is no token, the application most likely still works as it did with that software.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Names of these settings. `PostgREST` before version 9 sets `request.jwt.claim.sub`, and so do
/// later versions up to 12 with `db-use-legacy-gucs`.
const NAMES: [&CStr; 4] = [
    c"pg_session_jwt.jwt",
    c"pg_session_jwt.jwk",
    c"request.jwt.claims",
    c"request.jwt.claim.sub",
];

/// The first of these settings that has a value.
pub fn first_set() -> Option<&'static CStr> {
    NAMES.into_iter().find(|name| is_set(name))
}

fn is_set(name: &CStr) -> bool {
    // SAFETY: the name is NUL-terminated. With these arguments GetConfigOption neither creates nor
    // raises anything, and gives NULL for a name that nothing has set; a value is NULL or
    // NUL-terminated (src/backend/utils/misc/guc.c).
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        !value.is_null() && *value != 0
    }
}
