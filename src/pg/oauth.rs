//! Login by a token: the interface between Postgres and a library that validates tokens
//! (src/include/libpq/oauth.h), which pgrx does not bind.
//!
//! Postgres calls a validator before there is a database: catalogs of a database cannot be read.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pgrx::pg_sys;

use crate::pg::unguarded;

/// `PG_OAUTH_VALIDATOR_MAGIC`.
const MAGIC: u32 = 0x2025_0220;

/// `ValidatorModuleState`.
#[repr(C)]
pub struct ModuleState {
    server_version: c_int,
    private_data: *mut c_void,
}

/// `ValidatorModuleResult`, zeros before the call.
#[repr(C)]
struct ModuleResult {
    authorized: bool,
    /// Allocated by palloc.
    authn_id: *mut c_char,
    #[cfg(not(feature = "pg18"))]
    error_detail: *const c_char,
}

type OnState = unsafe extern "C-unwind" fn(*mut ModuleState);

/// `OAuthValidatorCallbacks`.
#[repr(C)]
pub struct Callbacks {
    magic: u32,
    startup: Option<OnState>,
    shutdown: Option<OnState>,
    validate: Option<
        unsafe extern "C-unwind" fn(
            *const ModuleState,
            *const c_char,
            *const c_char,
            *mut ModuleResult,
        ) -> bool,
    >,
}

/// The client's line of pg_hba.conf, as hba.c reads it.
#[repr(C)]
struct Line {
    issuer: *const c_char,
    scope: *const c_char,
    skips_usermap: bool,
    lacks_tls: bool,
}

unsafe extern "C" {
    /// Reads variables of the process: cannot raise.
    fn pg_auth_jwt_read_line(line: *mut Line) -> bool;
}

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" {
    fn RegisterOAuthHBAOptions(state: *mut ModuleState, count: c_int, names: *mut *const c_char);
    fn GetOAuthHBAOption(state: *const ModuleState, name: *const c_char) -> *const c_char;
}

unsafe extern "C-unwind" {
    /// Raises if the events of the client's socket cannot be waited for (src/backend/libpq/pqcomm.c).
    fn pq_check_connection() -> bool;
}

/// A client that asks for a login.
pub struct Attempt<'a> {
    /// The token, of characters that a bearer token may have (RFC 6750).
    pub token: &'a CStr,
    pub role: &'a CStr,
    /// Options of the client's line of pg_hba.conf.
    pub issuer: &'a CStr,
    pub scope: &'a CStr,
    /// Whether the validator alone decides about the role (`delegate_ident_mapping`).
    pub skips_usermap: bool,
    /// Whether the client sent the token over a network without TLS.
    pub lacks_tls: bool,
    #[cfg_attr(
        feature = "pg18",
        expect(dead_code, reason = "for options of the line")
    )]
    state: *const ModuleState,
}

impl Attempt<'_> {
    /// An option `validator.NAME` of the line, one of [`Validator::OPTIONS`]. Up to Postgres 18 there are none.
    pub fn option(&self, name: &CStr) -> Option<&CStr> {
        #[cfg(feature = "pg18")]
        let text: *const c_char = {
            let _ = name;
            std::ptr::null()
        };
        #[cfg(not(feature = "pg18"))]
        // SAFETY: the state that Postgres has passed, and a NUL-terminated name.
        let text = unsafe { guarded(|| GetOAuthHBAOption(self.state, name.as_ptr())) };
        // SAFETY: NULL, or a NUL-terminated text that lives as long as the line.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    }
}

/// The verdict about a login.
pub enum Verdict {
    /// The user's name, which Postgres maps to roles, and `system_user` shows.
    Accepted(Vec<u8>),
    /// The reason, for the server's log, in the server's encoding.
    Refused(std::ffi::CString),
}

/// A validator of tokens.
pub trait Validator {
    /// Names of options that lines of pg_hba.conf may have, from Postgres 19 on.
    #[cfg_attr(feature = "pg18", expect(dead_code, reason = "lines have no options"))]
    const OPTIONS: &[&CStr];

    /// Decides about a login. What it raises counts as a refusal.
    fn validate(attempt: &Attempt) -> Verdict;
}

impl Callbacks {
    /// The callbacks of a validator.
    pub const fn of<V: Validator>() -> Self {
        Self {
            magic: MAGIC,
            startup: Some(startup::<V>),
            shutdown: None,
            validate: Some(validate::<V>),
        }
    }
}

#[cfg_attr(
    feature = "pg18",
    expect(unused_variables, reason = "lines have no options")
)]
unsafe extern "C-unwind" fn startup<V: Validator>(state: *mut ModuleState) {
    #[cfg(not(feature = "pg18"))]
    for name in V::OPTIONS {
        let mut name = name.as_ptr();
        // SAFETY: the state that Postgres passes, and an array of one NUL-terminated name, which is copied. An error
        // leaves past this frame, which holds nothing to drop.
        unsafe { RegisterOAuthHBAOptions(state, 1, &raw mut name) };
    }
}

/// Returns false only for a fault of this library; a refused token is a result.
unsafe extern "C-unwind" fn validate<V: Validator>(
    state: *const ModuleState,
    token: *const c_char,
    role: *const c_char,
    result: *mut ModuleResult,
) -> bool {
    let mut line = Line {
        issuer: std::ptr::null(),
        scope: std::ptr::null(),
        skips_usermap: false,
        lacks_tls: false,
    };
    // SAFETY: Postgres passes NUL-terminated texts, and a result that is zeros. The line's texts are NULL or
    // NUL-terminated.
    unsafe {
        if !pg_auth_jwt_read_line(&raw mut line) || line.issuer.is_null() || line.scope.is_null() {
            return false;
        }
        let attempt = Attempt {
            token: CStr::from_ptr(token),
            role: CStr::from_ptr(role),
            issuer: CStr::from_ptr(line.issuer),
            scope: CStr::from_ptr(line.scope),
            skips_usermap: line.skips_usermap,
            lacks_tls: line.lacks_tls,
            state,
        };
        // No panic may leave this frame.
        match catch_unwind(AssertUnwindSafe(|| V::validate(&attempt))) {
            Ok(Verdict::Accepted(name)) => {
                (*result).authn_id = copy(&name);
                (*result).authorized = !(*result).authn_id.is_null();
            }
            Ok(Verdict::Refused(reason)) => {
                #[cfg(not(feature = "pg18"))]
                {
                    (*result).error_detail = copy(reason.as_bytes());
                }
                drop(reason);
            }
            Err(_) => return false,
        }
        true
    }
}

/// A NUL-terminated copy in the current memory context; NULL if memory runs out, or if the text holds a NUL.
fn copy(text: &[u8]) -> *mut c_char {
    if text.contains(&0) {
        return std::ptr::null_mut();
    }
    let size = text.len().saturating_add(1);
    // SAFETY: with these flags the function cannot raise; it returns NULL, or memory of that size.
    unsafe {
        let flags = pg_sys::MCXT_ALLOC_NO_OOM | pg_sys::MCXT_ALLOC_ZERO;
        let place = unguarded::MemoryContextAllocExtended(
            pg_sys::CurrentMemoryContext,
            size,
            flags as c_int,
        )
        .cast::<c_char>();
        if !place.is_null() {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), place, text.len());
        }
        place
    }
}

/// Time until Postgres gives the client up (`authentication_timeout`).
pub fn time_left() -> Duration {
    // SAFETY: reads variables of the process, and the clock.
    let (seconds, since) = unsafe {
        let since = pg_sys::GetCurrentTimestamp().saturating_sub(pg_sys::MyStartTimestamp);
        (pg_sys::AuthenticationTimeout, since)
    };
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    timeout.saturating_sub(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
}

/// Whether the client is still connected, as far as the operating system tells.
pub fn client_is_connected() -> bool {
    // SAFETY: the process has a client. What this raises becomes a panic.
    unsafe { !pg_sys::WaitEventSetCanReportClosed() || guarded(|| pq_check_connection()) }
}

/// Calls a function of Postgres so that its error becomes a panic, as pgrx does for those that it binds.
///
/// # Safety
///
/// As for the function. The closure must hold nothing to drop.
unsafe fn guarded<T: Copy>(call: impl Fn() -> T) -> T {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) }
}
