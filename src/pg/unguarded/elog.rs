//! Postgres's error reporting (src/include/utils/elog.h).
//!
//! A report begins with [`errstart`] and ends with [`errfinish`]. The functions between them fill
//! in its parts, copy the texts that they get, and raise if memory runs out. Functions with a
//! format must get `"%s"`, followed by one NUL-terminated text in the server's encoding.

use std::ffi::{c_char, c_int};

use pgrx::PgLogLevel;
use pgrx::pg_sys::ErrorData;

pub const ERROR: c_int = PgLogLevel::ERROR as c_int;
pub const NOTICE: c_int = PgLogLevel::NOTICE as c_int;
pub const WARNING: c_int = PgLogLevel::WARNING as c_int;
pub const LOG_SERVER_ONLY: c_int = PgLogLevel::LOG_SERVER_ONLY as c_int;

unsafe extern "C-unwind" {
    /// False if no client or log would get the report, which then must not be continued; never for
    /// an ERROR.
    pub fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub fn errcode(code: c_int) -> c_int;
    pub fn errmsg(format: *const c_char, ...) -> c_int;
    pub fn errdetail(format: *const c_char, ...) -> c_int;
    pub fn errdetail_log(format: *const c_char, ...) -> c_int;
    pub fn errhint(format: *const c_char, ...) -> c_int;
    pub fn errhidestmt(hide: bool) -> c_int;
    pub fn errhidecontext(hide: bool) -> c_int;
    /// Does not return from an ERROR. Returns from lower levels, unless the statement was cancelled
    /// meanwhile.
    pub fn errfinish(file: *const c_char, line: c_int, function: *const c_char);

    /// A copy of the report in progress, in the current memory context, which must not be
    /// `ErrorContext`.
    pub fn CopyErrorData() -> *mut ErrorData;
    /// Frees what [`CopyErrorData`] made. Cannot raise.
    pub fn FreeErrorData(error: *mut ErrorData);
    /// Raises a copy again. Does not return if it is a copy of an ERROR.
    pub fn ThrowErrorData(error: *mut ErrorData);
}
