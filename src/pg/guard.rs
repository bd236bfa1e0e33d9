//! The border between Postgres and our Rust: raises a Postgres error if a call of ours ends in our
//! own error, in a panic, or in an error of Postgres.
//!
//! Where pgrx calls Postgres, it catches Postgres's errors and panics, so that Rust values are
//! dropped. It keeps only some fields of the error, and its own guard raises the error again from
//! those: an SQLSTATE that pgrx does not know becomes `XX000`, the names of constraint, table and
//! column and the context are lost, and with `RUST_BACKTRACE` set the DETAIL has pgrx's stack
//! frames. Here Postgres's error is raised again unchanged. Before an error leaves its place,
//! Postgres calls the error context callbacks, and one of those keeps a copy.

use std::any::Any;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use crate::pg::report::{self, Report};
use crate::pg::unguarded::elog;

/// Keeps a copy of the last error that was raised while this was on the stack.
struct Keeper {
    callback: pg_sys::ErrorContextCallback,
    /// The context for copies: the current one at the start of the call, which lives longer than
    /// the call.
    memory: pg_sys::MemoryContext,
    error: *mut pg_sys::ErrorData,
}

/// Runs `body` and returns its result; raises a Postgres error if it ends in another way.
///
/// # Safety
///
/// Must only be called if no Rust frame between here and Postgres holds anything to drop: an error
/// leaves by `longjmp`.
pub unsafe fn run<T>(body: impl FnOnce() -> Result<T, Report>) -> T {
    // SAFETY: these are variables of this backend. The callback is in its list as long as this
    // frame exists: it is removed below, and Postgres removes it if an error leaves past this
    // frame.
    unsafe {
        let mut keeper = Keeper {
            callback: pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(KEEP_ERROR),
                arg: std::ptr::null_mut(),
            },
            memory: pg_sys::CurrentMemoryContext,
            error: std::ptr::null_mut(),
        };
        let keeper = &raw mut keeper;
        (*keeper).callback.arg = keeper.cast();
        pg_sys::error_context_stack = &raw mut (*keeper).callback;
        let outcome = catch_unwind(AssertUnwindSafe(body));
        pg_sys::error_context_stack = (*keeper).callback.previous;
        match outcome {
            Ok(Ok(value)) => value,
            Ok(Err(report)) => report.raise(),
            Err(panic) => {
                pg_sys::CurrentMemoryContext = (*keeper).memory;
                raise_caught(panic, (*keeper).error)
            }
        }
    }
}

/// Postgres calls this for each message, of any level, that is raised while `run` runs.
unsafe extern "C-unwind" fn keep_error(keeper: *mut c_void) {
    // SAFETY: the argument that `run` set. Postgres calls this while the message is at the top of
    // its error stack (errfinish in src/backend/utils/error/elog.c).
    unsafe {
        // An error would be a PANIC there, and allocating memory is not allowed.
        if pg_sys::CritSectionCount > 0 {
            return;
        }
        let keeper = keeper.cast::<Keeper>();
        let caller = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*keeper).memory;
        let mut dropped = elog::CopyErrorData();
        if (*dropped).elevel == elog::ERROR {
            std::mem::swap(&mut dropped, &mut (*keeper).error);
        }
        if !dropped.is_null() {
            elog::FreeErrorData(dropped);
        }
        pg_sys::CurrentMemoryContext = caller;
    }
}

/// The one address of [`keep_error`], of which the compiler may make copies.
static KEEP_ERROR: unsafe extern "C-unwind" fn(*mut c_void) = keep_error;

/// The `error_context_stack` of the caller of our function that runs now.
pub fn callers_stack() -> *mut pg_sys::ErrorContextCallback {
    // SAFETY: reads a variable of the backend; the stack is a list of live entries.
    unsafe {
        let top = pg_sys::error_context_stack;
        let is_ours = !top.is_null()
            && (*top)
                .callback
                .is_some_and(|callback| std::ptr::fn_addr_eq(callback, KEEP_ERROR));
        if is_ours { (*top).previous } else { top }
    }
}

/// Raises the error for a panic; `kept` is the last of Postgres's errors, or NULL.
///
/// # Safety
///
/// As for [`run`].
#[cold]
unsafe fn raise_caught(panic: Box<dyn Any + Send>, kept: *mut pg_sys::ErrorData) -> ! {
    // The payload's types are private to pgrx, which converts them here.
    let caught = pg_sys::PgTryBuilder::new(AssertUnwindSafe(|| resume_unwind(panic)))
        .catch_others(|caught| caught)
        .execute();
    // SAFETY: as the caller promises; what was caught is dropped before the error is raised.
    unsafe {
        match caught {
            CaughtError::PostgresError(error) => {
                if !kept.is_null()
                    && !(*kept).message.is_null()
                    && CStr::from_ptr((*kept).message).to_string_lossy() == error.message()
                {
                    drop(error);
                    raise_again(kept);
                }
                report::raise_foreign(error, false)
            }
            CaughtError::ErrorReport(error) => report::raise_foreign(error, false),
            CaughtError::RustPanic { ereport, payload } => {
                drop(payload);
                report::raise_foreign(ereport, true)
            }
        }
    }
}

/// Raises an error again with all its fields. Its context already has the lines of the callbacks
/// above ours; Postgres adds those of the callbacks below.
///
/// # Safety
///
/// As for [`run`]; `error` must be a copy of an ERROR.
unsafe fn raise_again(error: *mut pg_sys::ErrorData) -> ! {
    /// ThrowErrorData does not copy these two.
    unsafe extern "C-unwind" fn hide_again(error: *mut c_void) {
        // SAFETY: the argument that is set below.
        unsafe {
            let error = error.cast::<pg_sys::ErrorData>();
            elog::errhidestmt((*error).hide_stmt);
            elog::errhidecontext((*error).hide_ctx);
        }
    }
    // SAFETY: as the caller promises. This frame stays until the error has left it, and the code
    // that catches the error restores the list of callbacks.
    unsafe {
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(hide_again),
            arg: error.cast(),
        };
        pg_sys::error_context_stack = &raw mut callback;
        elog::ThrowErrorData(error);
    }
    // ThrowErrorData does not return from an ERROR.
    std::process::abort()
}
