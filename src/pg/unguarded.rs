//! Postgres's functions on the paths that run once per row or once per transaction, without the guard
//! that `pg_sys` puts around each of them: it pays a sigsetjmp at each call, so that a Postgres error
//! becomes a Rust panic and destructors run.
//!
//! Without it an error leaves by `longjmp`. So whoever calls one that may raise holds nothing that
//! needs a drop, in that frame and in every one up to the SQL function's (see [`crate::pg::function::call`],
//! which holds nothing either).

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// Only returns a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    /// Only returns a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentTransactionStartTimestamp() -> pg_sys::TimestampTz;
    /// Raises where memory runs out.
    pub fn palloc(size: usize) -> *mut c_void;
    /// Only reads statics (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn IsInTransactionBlock(is_top_level: bool) -> bool;
    /// Only reads a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentTransactionNestLevel() -> c_int;
    /// As a `boolean` setting is read (src/backend/utils/adt/bool.c): cannot raise.
    pub fn parse_bool(text: *const c_char, value: *mut bool) -> bool;
    /// As an `integer` setting is read (src/backend/utils/misc/guc.c): cannot raise.
    pub fn parse_int(
        text: *const c_char,
        value: *mut c_int,
        flags: c_int,
        hint: *mut *const c_char,
    ) -> bool;
    /// Only sets a static (src/backend/utils/misc/guc.c): cannot raise.
    pub safe fn GUC_check_errcode(code: c_int);
    /// Only reads a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn IsTransactionState() -> bool;
    /// Only reads a static (src/backend/utils/init/miscinit.c): cannot raise.
    pub safe fn GetSessionUserId() -> pg_sys::Oid;
    /// Raises where the catalogs cannot be read.
    pub fn superuser_arg(role: pg_sys::Oid) -> bool;
    /// Raises where the value is refused and `level` is 0 or an error's.
    pub fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: pg_sys::GucContext::Type,
        source: pg_sys::GucSource::Type,
        action: pg_sys::GucAction::Type,
        change_value: bool,
        level: c_int,
        is_reload: bool,
    ) -> c_int;
}
