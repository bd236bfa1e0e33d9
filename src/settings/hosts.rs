//! The check of `pg_auth_jwt.fetch_hosts`: a list with an entry that cannot be read is refused if
//! the refusal reaches the role that sets it: by ALTER SYSTEM, or a reload of the configuration file
//! (which then keeps the former list). A list from before the library was loaded is kept, and its
//! other entries count.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::catch_unwind;

use jwks_rules::HostList;
use pgrx::pg_sys;

use crate::settings::text;

thread_local! {
    /// DETAIL of the last refusal, kept until Postgres has read it.
    static DETAIL: RefCell<CString> = RefCell::default();
}

/// A setting's check hook, outside of pgrx's guard: the parser runs in a guard of its own, and no
/// function of Postgres is called that might raise.
pub unsafe extern "C-unwind" fn check(
    text: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes a NUL-terminated text or NULL.
    let bytes = unsafe {
        if (*text).is_null() || text::is_kept() {
            return true;
        }
        CStr::from_ptr(*text).to_bytes()
    };
    let detail = catch_unwind(|| {
        let error = match std::str::from_utf8(bytes).map(HostList::parse) {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "list of hosts is not UTF-8".to_owned(),
        };
        let detail = CString::new(crate::errors::sentence(&error)).unwrap_or_default();
        Some(DETAIL.with_borrow_mut(|place| {
            *place = detail;
            place.as_ptr()
        }))
    });
    let Ok(Some(detail)) = detail else {
        // Kept, as a text from before: an entry that cannot be read lists nothing.
        return true;
    };
    // SAFETY: Postgres reads the texts before this is called again.
    unsafe {
        pg_sys::GUC_check_errdetail_string = detail.cast_mut();
        pg_sys::GUC_check_errhint_string =
            c"Entries are HOST, HOST:PORT, *.DOMAIN, *, and for a host of a private network without TLS \
              http://HOST:PORT."
                .as_ptr()
                .cast_mut();
    }
    false
}
