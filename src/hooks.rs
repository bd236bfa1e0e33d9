//! Keeps secrets that stand in a statement's text out of the server's log, of `pg_stat_activity` and
//! of `pg_stat_statements`: tokens, and the secret members of JWKs.
//!
//! A token that is bound as a parameter is in none of them to begin with. One that is written into
//! the statement is, before any hook runs. So what Postgres shows, or is about to write, is searched
//! for secrets, and those are replaced. This works from the moment that the library is loaded: at its
//! first use in a connection, or from the connection's start with `session_preload_libraries`.
//!
//! None of the hooks is under pgrx's guard while it calls on: the guard would catch every error of
//! every statement, and raise it again without what it does not know of it (SQLSTATEs, names of
//! constraints). So errors pass through these frames by `longjmp`, and nothing in them needs a drop.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::clock::Stamp;
use crate::redaction::{Extent, holds_secret, redact};

static mut PREVIOUS_EMIT_LOG: pg_sys::emit_log_hook_type = None;
static mut PREVIOUS_POST_PARSE_ANALYZE: pg_sys::post_parse_analyze_hook_type = None;
static mut PREVIOUS_EXECUTOR_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut PREVIOUS_PROCESS_UTILITY: pg_sys::ProcessUtility_hook_type = None;

/// Postgres's own functions behind the hooks, without the guard that `pg_sys` puts around them.
mod standard {
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        pub fn pgstat_report_activity(
            state: pg_sys::BackendState::Type,
            statement: *const std::ffi::c_char,
        );
        pub fn standard_ExecutorRun(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
            #[cfg(not(feature = "pg18"))] execute_once: bool,
        );
        pub fn standard_ProcessUtility(
            statement: *mut pg_sys::PlannedStmt,
            text: *const std::ffi::c_char,
            read_only_tree: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            destination: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
}

/// Installs the hooks; called once per backend, when the library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these.
    unsafe {
        PREVIOUS_EMIT_LOG = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(emit_log);
        PREVIOUS_POST_PARSE_ANALYZE = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(post_parse_analyze);
        PREVIOUS_EXECUTOR_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(executor_run);
        PREVIOUS_PROCESS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

/// Before a message is written to the log. Runs in the middle of error handling, so it changes the
/// texts in place and calls nothing that could fail. The client then gets the changed texts too
/// (`EmitErrorReport` in src/backend/utils/error/elog.c); a message that does not go to the log, as
/// `log_min_messages` says, goes to the client unseen.
unsafe extern "C-unwind" fn emit_log(message: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres passes the message that it is about to write, whose texts are NUL-terminated
    // copies of its own (src/backend/utils/error/elog.c).
    unsafe {
        for text in [
            (*message).message,
            (*message).detail,
            (*message).detail_log,
            (*message).hint,
            (*message).context,
            (*message).internalquery,
        ] {
            redact_in_place(text);
        }
        // The statement is written as it is, so it is written only if it holds no secret. An error
        // may have come before any other hook saw it.
        if shown_statement().is_some_and(shown_holds_secret) {
            (*message).hide_stmt = true;
            redact_activity();
        }
        if let Some(previous) = PREVIOUS_EMIT_LOG {
            previous(message);
        }
    }
}

/// Once a statement is parsed: the first point at which a hook gets to see it. `pg_stat_statements`
/// does not track statements without a query id.
unsafe extern "C-unwind" fn post_parse_analyze(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: Postgres passes valid nodes; the source text is NUL-terminated or NULL.
    unsafe {
        if let Some(previous) = PREVIOUS_POST_PARSE_ANALYZE {
            previous(state, query, jumble);
        }
        let text = (*state).p_sourcetext;
        // Of a message with many statements each one comes here with the whole text.
        let holds_secret = if text.is_null() {
            false
        } else if std::ptr::eq(text, pg_sys::debug_query_string) {
            shown_holds_secret(CStr::from_ptr(text))
        } else {
            holds_secret(CStr::from_ptr(text).to_bytes(), Extent::Whole)
        };
        if holds_secret {
            (*query).queryId = 0;
            redact_activity();
        }
    }
}

/// Before a plan is run. In the extended protocol each Execute shows the statement's text anew.
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] execute_once: bool,
) {
    redact_activity();
    // SAFETY: hands on what Postgres passed.
    unsafe {
        let run = PREVIOUS_EXECUTOR_RUN.unwrap_or(standard::standard_ExecutorRun);
        run(
            query,
            direction,
            count,
            #[cfg(not(feature = "pg18"))]
            execute_once,
        );
    }
}

/// Before a utility statement, such as SET, is run.
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    redact_activity();
    // SAFETY: hands on what Postgres passed.
    unsafe {
        let process = PREVIOUS_PROCESS_UTILITY.unwrap_or(standard::standard_ProcessUtility);
        process(
            statement,
            text,
            read_only_tree,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
    }
}

/// What is known of the client's statement.
#[derive(Clone, Copy)]
struct Seen {
    /// Which one it is: its text stays in place for as long as its message is worked on.
    statement: (*const c_char, Stamp),
    holds_secret: bool,
    /// Whether `pg_stat_activity` shows it without.
    is_redacted: bool,
}

thread_local! {
    /// The statement that was looked at last: the hooks run for each statement of a function's body
    /// too, and for each one of many in one message, while the text stays the client's.
    static SEEN: Cell<Seen> = const {
        Cell::new(Seen {
            statement: (std::ptr::null(), Stamp::NEVER),
            holds_secret: false,
            is_redacted: false,
        })
    };
}

/// As [`holds_secret`], of [`shown_statement`], which is looked through only once.
fn shown_holds_secret(statement: &CStr) -> bool {
    let this = (statement.as_ptr(), Stamp::current());
    if SEEN.get().statement != this {
        SEEN.set(Seen {
            statement: this,
            holds_secret: holds_secret(statement.to_bytes(), Extent::Whole),
            is_redacted: false,
        });
    }
    SEEN.get().holds_secret
}

/// Rewrites what `pg_stat_activity` shows of the statement that this backend runs, if it holds a
/// secret.
pub fn redact_activity() {
    /// From this length on it takes longer to look through a statement than to know it again.
    const LONG: usize = 1024;

    let Some(statement) = shown_statement() else {
        return;
    };
    if statement.count_bytes() < LONG && !holds_secret(statement.to_bytes(), Extent::Whole) {
        return;
    }
    if !shown_holds_secret(statement) || SEEN.get().is_redacted {
        return;
    }
    let mut text = Vec::new();
    // This may run in error handling, so memory is asked for and not taken.
    if text.try_reserve_exact(statement.count_bytes() + 1).is_ok() {
        text.extend_from_slice(statement.to_bytes());
        let length = redact(&mut text);
        text.truncate(length);
        text.push(0);
    } else {
        text = Vec::new();
    }
    let shown = if text.is_empty() {
        c"<token>".as_ptr()
    } else {
        text.as_ptr().cast()
    };
    // SAFETY: the text is NUL-terminated and copied; the function writes to this backend's entry in
    // shared memory and cannot fail (src/backend/utils/activity/backend_status.c).
    unsafe {
        standard::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, shown);
    }
    SEEN.set(Seen {
        is_redacted: true,
        ..SEEN.get()
    });
}

/// The client's statement, which the log quotes and `pg_stat_activity` shows.
fn shown_statement() -> Option<&'static CStr> {
    // SAFETY: NULL or NUL-terminated, and in place for as long as the statement runs, which is
    // longer than any caller keeps it.
    unsafe {
        let text = pg_sys::debug_query_string;
        (!text.is_null()).then(|| CStr::from_ptr(text))
    }
}

/// # Safety
///
/// `text` must be NULL or NUL-terminated and writable.
unsafe fn redact_in_place(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: as the caller promises; the text gets no longer, so its NUL stays within.
    unsafe {
        let length = CStr::from_ptr(text).count_bytes();
        let length = redact(std::slice::from_raw_parts_mut(text.cast(), length));
        text.add(length).write(0);
    }
}
