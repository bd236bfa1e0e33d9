//! Functions of the library, which the extension finds by `dlsym`.
//!
//! ```c
//! uint32_t pg_auth_jwt_fetch_version(void);
//! void *pg_auth_jwt_fetch_start(const uint8_t *request, size_t len);
//! int pg_auth_jwt_fetch_poll(void *fetch, const uint8_t **answer, size_t *len);
//! void pg_auth_jwt_fetch_free(void *fetch);
//! ```
//!
//! Requests and answers are the JSON of [`jwks_rules::wire`]. No function blocks, writes to standard
//! output or error, raises a signal, or lets a panic out. All calls for one fetch come from one
//! thread.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::ptr;
use std::slice;
use std::sync::{Arc, Once};

use jwks_rules::wire::{Request, VERSION};

use crate::job::Job;
use crate::resolver::SystemLookup;

/// Returns [`VERSION`]: the extension calls nothing else if it differs from its own.
#[unsafe(no_mangle)]
pub extern "C" fn pg_auth_jwt_fetch_version() -> u32 {
    VERSION
}

/// Starts a fetch in a thread of its own, and returns it for the other functions. Null: the request
/// cannot be read, or the thread could not be started.
///
/// # Safety
/// `request` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_auth_jwt_fetch_start(request: *const u8, len: usize) -> *mut c_void {
    let start = || {
        if request.is_null() || isize::try_from(len).is_err() {
            return None;
        }
        // SAFETY: neither null nor longer than a slice may be; the rest is the caller's promise.
        let request = unsafe { slice::from_raw_parts(request, len) };
        let request = Request::from_json(request).ok()?;
        silence_panics();
        Job::start(request, Arc::new(SystemLookup))
    };
    match catch_unwind(start) {
        Ok(Some(job)) => Box::into_raw(Box::new(job)).cast(),
        Ok(None) | Err(_) => ptr::null_mut(),
    }
}

/// Returns 0 while the fetch runs; 1 when it has ended: then `answer` and `len` are set to its
/// answer, which stays valid until the fetch is freed. It ends at its time limit at the latest.
///
/// # Safety
/// `fetch` is from [`pg_auth_jwt_fetch_start`] and not freed; `answer` and `len` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_auth_jwt_fetch_poll(
    fetch: *mut c_void,
    answer: *mut *const u8,
    len: *mut usize,
) -> c_int {
    let poll = AssertUnwindSafe(|| {
        // SAFETY: the caller's promise; null is looked for.
        let job = unsafe { fetch.cast::<Job>().as_mut() }?;
        let text = job.poll()?;
        if answer.is_null() || len.is_null() {
            return None;
        }
        // SAFETY: not null; the rest is the caller's promise.
        unsafe {
            answer.write(text.as_ptr());
            len.write(text.len());
        }
        Some(())
    });
    match catch_unwind(poll) {
        Ok(Some(())) => 1,
        Ok(None) | Err(_) => 0,
    }
}

/// Frees a fetch. If it still runs, its thread is left to itself.
///
/// # Safety
/// `fetch` is null, or from [`pg_auth_jwt_fetch_start`] and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_auth_jwt_fetch_free(fetch: *mut c_void) {
    if !fetch.is_null() {
        // SAFETY: the caller's promise.
        let job = unsafe { Box::from_raw(fetch.cast::<Job>()) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(job)));
    }
}

/// Rust's default is to write a panic's message to standard error, which is Postgres's log. The
/// hook belongs to this library's copy of Rust's standard library; the extension's has its own.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(|_| {})));
}
