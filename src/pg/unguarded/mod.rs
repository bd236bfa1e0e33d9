//! Postgres's functions, declared without the guard that `pg_sys` puts around each of them. The
//! guard costs a sigsetjmp at each call, turns an error of Postgres into a Rust panic so that
//! destructors run, and loses some of the error's fields. So it is not used on paths that run once
//! per row or once per transaction, nor in hooks, which the errors of all statements pass through.
//!
//! An error leaves such a function by `longjmp`. So callers of functions that may raise must keep
//! these rules:
//!
//! - No value that needs a drop exists in that frame and in every frame up to the nearest one of
//!   Postgres or of [`crate::pg::guard::run`], nor in that one. A borrowed `RefCell` counts as such
//!   a value.
//! - In a hook or a callback nothing can panic: no frame below would catch the panic, and it would
//!   end the server.
//!
//! A function that is declared `safe` takes no pointer and cannot raise. The comment on each of the
//! others says when it raises; its pointers must be what Postgres's own callers pass.

pub mod elog;
pub mod hooks;
pub mod nodes;

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// Only returns a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    /// Only returns a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentTransactionStartTimestamp() -> pg_sys::TimestampTz;
    /// Only reads the system's clock (src/backend/utils/adt/timestamp.c): cannot raise.
    pub safe fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    /// Raises if memory runs out.
    pub fn palloc(size: usize) -> *mut c_void;
    /// Raises if memory runs out.
    pub fn palloc0(size: usize) -> *mut c_void;
    /// Cannot raise with the flags HUGE and NO_OOM: NULL if memory runs out
    /// (src/backend/utils/mmgr/mcxt.c).
    pub fn MemoryContextAllocExtended(
        context: pg_sys::MemoryContext,
        size: usize,
        flags: c_int,
    ) -> *mut c_void;
    /// Only puts the callback into a list (src/backend/utils/mmgr/mcxt.c): cannot raise.
    pub fn MemoryContextRegisterResetCallback(
        context: pg_sys::MemoryContext,
        callback: *mut pg_sys::MemoryContextCallback,
    );
    /// Raises if the stack is deeper than `max_stack_depth`.
    pub fn check_stack_depth();
    /// Only reads statics (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn IsInTransactionBlock(is_top_level: bool) -> bool;
    /// Only reads a static (src/backend/access/transam/xact.c): cannot raise.
    pub safe fn GetCurrentTransactionNestLevel() -> c_int;
    /// Reads a `boolean` setting's text (src/backend/utils/adt/bool.c): cannot raise.
    pub fn parse_bool(text: *const c_char, value: *mut bool) -> bool;
    /// Reads an `integer` setting's text (src/backend/utils/misc/guc.c): cannot raise.
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
    pub safe fn InLocalUserIdChange() -> bool;
    /// Only reads a static (src/backend/utils/init/miscinit.c): cannot raise.
    pub safe fn GetSessionUserId() -> pg_sys::Oid;
    /// Only reads a static (src/backend/utils/init/miscinit.c): cannot raise.
    pub safe fn GetOuterUserId() -> pg_sys::Oid;
    /// Raises if the catalogs cannot be read.
    pub fn superuser_arg(role: pg_sys::Oid) -> bool;
    /// Raises if the value is refused and `level` is 0 or an error's.
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
    /// The text of a setting's value; NULL if there is no such setting and `missing_ok`. Raises
    /// nothing then, unless `restrict_privileged`.
    pub fn GetConfigOption(
        name: *const c_char,
        missing_ok: bool,
        restrict_privileged: bool,
    ) -> *const c_char;
    /// An SQL literal of the text. Raises if memory runs out.
    pub fn quote_literal_cstr(text: *const c_char) -> *mut c_char;
    /// A list with a `RawStmt` for each statement. Raises the errors of syntax.
    pub fn raw_parser(text: *const c_char, mode: pg_sys::RawParseMode::Type) -> *mut pg_sys::List;
    /// Raises if the catalogs cannot be read. The relation stays open until [`RelationClose`], or
    /// until the transaction's end if an error leaves. NULL if no relation has this oid.
    pub fn RelationIdGetRelation(table: pg_sys::Oid) -> pg_sys::Relation;
    /// Raises nothing for a relation that was opened by [`RelationIdGetRelation`].
    pub fn RelationClose(relation: pg_sys::Relation);
    /// Writes to this backend's entry in shared memory
    /// (src/backend/utils/activity/backend_status.c): cannot raise. The text is copied.
    pub fn pgstat_report_activity(state: pg_sys::BackendState::Type, text: *const c_char);
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    fn pqsignal(signal: c_int, handler: Handler) -> Option<Handler>;
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    fn pqsignal_be(signal: c_int, handler: Handler);
}

// Handlers of signals.
unsafe extern "C-unwind" {
    /// Sets flags and a latch (src/backend/tcop/postgres.c), for the next interrupt check.
    pub fn die(
        signal: c_int,
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        sender: *const SignalInfo,
    );
    /// As above (src/backend/postmaster/interrupt.c).
    pub fn SignalHandlerForConfigReload(
        signal: c_int,
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        sender: *const SignalInfo,
    );
    /// As above.
    pub fn SignalHandlerForShutdownRequest(
        signal: c_int,
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        sender: *const SignalInfo,
    );
}

/// A signal's handler. Since Postgres 19 it is told who sent the signal.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
type Handler = unsafe extern "C-unwind" fn(c_int);
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
type Handler = unsafe extern "C-unwind" fn(c_int, *const SignalInfo);

/// `pg_signal_info` of src/include/c.h, which only Postgres makes and reads.
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
type SignalInfo = c_void;

/// Sets the handler of a signal, as `pqsignal` does (src/port/pqsignal.c): cannot raise.
///
/// # Safety
///
/// The handler must do nothing but what is allowed in one.
pub unsafe fn set_signal_handler(signal: c_int, handler: Handler) {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        pqsignal(signal, handler);
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
        pqsignal_be(signal, handler);
    }
}
