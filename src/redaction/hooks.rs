//! Keeps secrets in a statement's text out of the server's log, `pg_stat_activity` and
//! `pg_stat_statements`: tokens, and the secret members of JWKs.
//!
//! A token that is bound as a parameter never gets into these. A token that is part of the
//! statement's text is there before any hook runs. So the texts that Postgres shows, or is about to
//! write, are searched for secrets, and those are replaced. This works once the library is loaded:
//! at its first use in a connection, or from the connection's start with
//! `session_preload_libraries`.
//!
//! No hook uses pgrx's guard around the next hook: the guard would catch every error of every
//! statement, and raise it again without the fields that it does not know (SQLSTATEs, names of
//! constraints). So errors pass through these frames by `longjmp`, and nothing in them needs a
//! drop. A panic here would end the server.
//!
//! A function may run thousands of statements, and a message may contain as many, while the
//! client's text stays the same. So a hook searches that text once per message and not once per
//! statement.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

use crate::pg::unguarded;
use crate::pg::unguarded::hooks::{self, Running};
use crate::redaction::{Extent, holds_secret, may_be_in_tree, redact};

static mut PREVIOUS_EMIT_LOG: pg_sys::emit_log_hook_type = None;
static mut PREVIOUS_POST_PARSE_ANALYZE: pg_sys::post_parse_analyze_hook_type = None;
static mut PREVIOUS_EXECUTOR_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREVIOUS_EXECUTOR_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut PREVIOUS_PROCESS_UTILITY: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hooks; called once per backend, when the library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these. The
    // callback lives as long as the library, which is never unloaded.
    unsafe {
        PREVIOUS_EMIT_LOG = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(emit_log);
        PREVIOUS_POST_PARSE_ANALYZE = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(post_parse_analyze);
        PREVIOUS_EXECUTOR_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(executor_start);
        PREVIOUS_EXECUTOR_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(hooks::executor_run::<BeforeRun>);
        PREVIOUS_PROCESS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = PROCESS_UTILITY;
        pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
    }
}

/// Whether another library has a utility hook.
#[inline]
pub fn are_others_beside_utility() -> bool {
    // SAFETY: reads variables of this backend, which is single-threaded.
    unsafe {
        let (before_ours, first) = (PREVIOUS_PROCESS_UTILITY, pg_sys::ProcessUtility_hook);
        before_ours.is_some()
            || !(first.zip(PROCESS_UTILITY))
                .is_some_and(|(first, ours)| std::ptr::fn_addr_eq(first, ours))
    }
}

/// Hides secrets before a message is written to the log. Runs in the middle of error handling, so
/// it changes the texts in place and calls nothing that could fail. The client then also gets the
/// changed texts (`EmitErrorReport` in src/backend/utils/error/elog.c). A message that does not go
/// to the log because of `log_min_messages` goes to the client without this hook.
unsafe extern "C-unwind" fn emit_log(message: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres passes the message that it is about to write, whose texts are NUL-terminated
    // copies of its own.
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
        // Postgres writes the statement unchanged, so it is written only if it holds no secret. The
        // error may have occurred before any other hook saw the statement.
        let holds_secret = Statement::of_client().is_some_and(|statement| statement.holds_secret);
        if holds_secret {
            (*message).hide_stmt = true;
            redact_activity();
        }
        if is_tree(message) && (holds_secret || may_hold_secret_in_tree((*message).detail)) {
            hide_in_place((*message).detail);
        }
        if let Some(previous) = PREVIOUS_EMIT_LOG {
            previous(message);
        }
    }
}

/// Searches a statement after it is parsed: the first point at which a hook sees it.
///
/// `pg_stat_statements` does not track statements without a query id. Its own hook already stores
/// the text with constants, so the query id is removed before that hook is called. If its hook is
/// called first, because it was loaded later, it checks the query id after it has called this hook.
unsafe extern "C-unwind" fn post_parse_analyze(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: hooks::Jumble,
) {
    // SAFETY: Postgres passes valid nodes; the source text is NUL-terminated or NULL.
    unsafe {
        let holds_secret = holds_secret_in_statement(state, query);
        if holds_secret {
            (*query).queryId = 0;
            redact_activity();
        }
        if let Some(previous) = PREVIOUS_POST_PARSE_ANALYZE {
            previous(state, query, jumble);
        }
        if holds_secret {
            // A hook may have computed one itself.
            (*query).queryId = 0;
        }
    }
}

/// Whether the text of a parsed statement holds a secret.
///
/// # Safety
///
/// Both must be those that Postgres passes to `post_parse_analyze_hook`.
unsafe fn holds_secret_in_statement(
    state: *const pg_sys::ParseState,
    query: *const pg_sys::Query,
) -> bool {
    // SAFETY: as the caller promises. Postgres sets the position of a statement within its text
    // when it parses it, and pg_stat_statements reads the text by that position (CleanQuerytext in
    // src/backend/nodes/queryjumblefuncs.c).
    unsafe {
        let text = (*state).p_sourcetext;
        if text.is_null() {
            return false;
        }
        if std::ptr::eq(text, pg_sys::debug_query_string) {
            return Statement::of_client().is_some_and(|statement| statement.holds_secret);
        }
        // The text may hold many statements, and each is passed here, so only its own part is
        // searched. A length of 0 means up to the end, and a position of -1 means unknown.
        let start = usize::try_from((*query).stmt_location).unwrap_or(0);
        let own = text.add(start).cast::<u8>();
        let own = match usize::try_from((*query).stmt_len) {
            Ok(length @ 1..) => std::slice::from_raw_parts(own, length),
            _ => CStr::from_ptr(own.cast()).to_bytes(),
        };
        holds_secret(own, Extent::Whole)
    }
}

/// Redacts before a plan runs for the first time: at Bind, for statements that return rows.
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    redact_activity();
    // SAFETY: passes on what Postgres passed.
    unsafe {
        let start = PREVIOUS_EXECUTOR_START.unwrap_or(hooks::standard_ExecutorStart);
        start(query, flags);
    }
}

/// Redacts before a plan runs. In the extended protocol each Execute shows the statement's text
/// again.
struct BeforeRun;

impl hooks::Runner for BeforeRun {
    unsafe fn run(call: Running) {
        redact_activity();
        // SAFETY: passes on what Postgres passed.
        unsafe { call.go_on(PREVIOUS_EXECUTOR_RUN) };
    }
}

/// The one address of [`process_utility`], of which the compiler may make copies.
static PROCESS_UTILITY: pg_sys::ProcessUtility_hook_type = Some(process_utility);

/// Redacts around a utility statement, such as SET. While it runs, `debug_query_string` is a copy
/// without secrets: CREATE INDEX, REINDEX and VACUUM pass it to their parallel workers, which show
/// it and call no hook. The statement itself has other pointers to its text. After an error
/// Postgres clears the variable; if a handler in PL/pgSQL catches it, the copy stays to the end of
/// the message.
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
    // SAFETY: passes on what Postgres passed. The variable is the backend's, and points to a text
    // that stays until the message ends, before and after.
    unsafe {
        let shown = pg_sys::debug_query_string;
        let copy = if starts_no_worker(statement) {
            std::ptr::null()
        } else {
            copy_without_secrets()
        };
        if !copy.is_null() {
            pg_sys::debug_query_string = copy;
        }
        let process = PREVIOUS_PROCESS_UTILITY.unwrap_or(hooks::standard_ProcessUtility);
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
        if !copy.is_null() && std::ptr::eq(pg_sys::debug_query_string, copy) {
            pg_sys::debug_query_string = shown;
        }
    }
}

/// Whether a utility statement is one of those around each request. Statements that run in them,
/// such as those of a deferred trigger at COMMIT, come here as utility statements of their own.
///
/// # Safety
///
/// `statement` must be the one that Postgres passes to `ProcessUtility_hook`.
unsafe fn starts_no_worker(statement: *const pg_sys::PlannedStmt) -> bool {
    use pg_sys::NodeTag::{T_TransactionStmt, T_VariableSetStmt};
    // SAFETY: as the caller promises.
    unsafe {
        matches!(
            (*(*statement).utilityStmt).type_,
            T_TransactionStmt | T_VariableSetStmt
        )
    }
}

/// Redacts after a transaction. Some messages show their text and run no other hook: an empty
/// statement that is only a comment, a Bind without an Execute, an error that is not logged.
unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(
        event,
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE
    ) && KNOWN.get().is_none()
    {
        redact_activity_as_shown();
    }
}

/// The client's statement, which the log quotes and `pg_stat_activity` shows.
#[derive(Clone, Copy)]
struct Statement {
    text: *const c_char,
    /// Length in bytes, without the NUL.
    length: usize,
    holds_secret: bool,
    /// The text without its secrets; NULL until a utility statement runs.
    copy: *const c_char,
    /// Whether `pg_stat_activity` already shows it without its secrets.
    is_redacted: bool,
}

thread_local! {
    /// The statement of the current message, once it was searched.
    static KNOWN: Cell<Option<Statement>> = const { Cell::new(None) };

    /// Whether `MESSAGE_ENDED` is registered.
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The text of the statement in `KNOWN` if it holds no secret, else NULL. Most calls of a hook need
/// no more than this, and so no thread-local variable.
static WITHOUT_SECRET: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Makes Postgres call [`message_ended`] once. A static, so that registering it allocates nothing.
static mut MESSAGE_ENDED: pg_sys::MemoryContextCallback = pg_sys::MemoryContextCallback {
    func: Some(message_ended),
    arg: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
};

unsafe extern "C-unwind" fn message_ended(_: *mut c_void) {
    KNOWN.set(None);
    WITHOUT_SECRET.store(null_mut(), Ordering::Relaxed);
    IS_REGISTERED.set(false);
}

impl Statement {
    /// The statement of the current message; `None` if there is none. Searches it only once per
    /// message.
    fn of_client() -> Option<Self> {
        // SAFETY: NULL, or NUL-terminated and in place while Postgres works on the message.
        let text = unsafe { pg_sys::debug_query_string };
        if text.is_null() {
            return None;
        }
        if let Some(known) = KNOWN.get().filter(|known| known.is(text)) {
            return Some(known);
        }
        // SAFETY: as above.
        let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
        let statement = Self {
            text,
            length: bytes.len(),
            holds_secret: holds_secret(bytes, Extent::Whole),
            copy: std::ptr::null(),
            is_redacted: false,
        };
        statement.remember();
        Some(statement)
    }

    /// Whether `text`, which is not NULL, is this statement's, or its copy.
    fn is(&self, text: *const c_char) -> bool {
        std::ptr::eq(self.text, text) || std::ptr::eq(self.copy, text)
    }

    /// Keeps the result while the address belongs to this text and no other: until Postgres empties
    /// `MessageContext`, which it does before it reads each of a client's messages
    /// (src/backend/tcop/postgres.c). A parallel worker has one statement all its life. In other
    /// background workers the text may change at any time, so nothing is kept there.
    fn remember(self) {
        // SAFETY: reads variables of this backend; the callback is in no list yet.
        unsafe {
            let context = pg_sys::MessageContext;
            if !pg_sys::MyProcPort.is_null() && !context.is_null() {
                if !IS_REGISTERED.replace(true) {
                    unguarded::MemoryContextRegisterResetCallback(context, &raw mut MESSAGE_ENDED);
                }
                KNOWN.set(Some(self));
                let text = if self.holds_secret {
                    null_mut()
                } else {
                    self.text.cast_mut()
                };
                WITHOUT_SECRET.store(text, Ordering::Relaxed);
            } else if pg_sys::ParallelWorkerNumber >= 0 {
                KNOWN.set(Some(self));
            }
        }
    }
}

/// Removes the secrets, if any, from the client's statement as `pg_stat_activity` shows it.
pub fn redact_activity() {
    // SAFETY: reads a variable of this backend.
    let text = unsafe { pg_sys::debug_query_string };
    if !text.is_null() && std::ptr::eq(WITHOUT_SECRET.load(Ordering::Relaxed), text) {
        return;
    }
    let Some(statement) = Statement::of_client() else {
        return;
    };
    if !statement.holds_secret || statement.is_redacted {
        return;
    }
    // SAFETY: the text of this message, with the length that was measured.
    let text = unsafe { std::slice::from_raw_parts(statement.text.cast(), statement.length) };
    show_redacted(text, pg_sys::BackendState::STATE_RUNNING);
    Statement {
        is_redacted: true,
        ..statement
    }
    .remember();
}

/// The client's statement without its secrets, if it has any; NULL if it has none, or if
/// `debug_query_string` already is that copy. Made once per message.
fn copy_without_secrets() -> *const c_char {
    // SAFETY: reads variables of this backend.
    let (text, message) = unsafe { (pg_sys::debug_query_string, pg_sys::MessageContext) };
    if text.is_null() || std::ptr::eq(WITHOUT_SECRET.load(Ordering::Relaxed), text) {
        return std::ptr::null();
    }
    let Some(statement) = Statement::of_client() else {
        return std::ptr::null();
    };
    if !statement.holds_secret || std::ptr::eq(statement.copy, text) {
        return std::ptr::null();
    }
    if !statement.copy.is_null() {
        return statement.copy;
    }
    if message.is_null() || KNOWN.get().is_none_or(|known| !known.is(text)) {
        // In a background worker the time for which a copy would have to stay is unknown.
        return c"<token>".as_ptr();
    }
    // SAFETY: the text has the length that was measured. The copy has room for it and for its NUL,
    // and stays until the message ends, when `KNOWN` forgets it.
    let copy = unsafe {
        let copy = unguarded::MemoryContextAllocExtended(
            message,
            statement.length.saturating_add(1),
            (pg_sys::MCXT_ALLOC_HUGE | pg_sys::MCXT_ALLOC_NO_OOM) as c_int,
        )
        .cast::<c_char>();
        if copy.is_null() {
            return c"<token>".as_ptr();
        }
        std::ptr::copy_nonoverlapping(statement.text, copy, statement.length);
        copy.add(statement.length).write(0);
        redact_in_place(copy);
        copy.cast_const()
    };
    Statement { copy, ..statement }.remember();
    copy
}

/// As [`redact_activity`], for the text that `pg_stat_activity` shows now.
fn redact_activity_as_shown() {
    // SAFETY: the entry in shared memory is this backend's, and only this backend writes it; the
    // text is NUL-terminated and no longer than track_activity_query_size.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        if entry.is_null() || (*entry).st_activity_raw.is_null() {
            return;
        }
        let text = CStr::from_ptr((*entry).st_activity_raw).to_bytes();
        if holds_secret(text, Extent::MayBeCut) {
            show_redacted(text, (*entry).st_state);
        }
    }
}

/// Makes `pg_stat_activity` show the text without its secrets.
fn show_redacted(text: &[u8], state: pg_sys::BackendState::Type) {
    let mut copy = Vec::new();
    // This may run in error handling, where running out of memory must not raise another error.
    let shown = if copy.try_reserve_exact(text.len().saturating_add(1)).is_ok() {
        copy.extend_from_slice(text);
        let length = redact(&mut copy);
        copy.truncate(length);
        copy.push(0);
        copy.as_ptr().cast()
    } else {
        c"<token>".as_ptr()
    };
    // SAFETY: the text is NUL-terminated and copied; the function writes to this backend's entry in
    // shared memory and cannot fail (src/backend/utils/activity/backend_status.c).
    unsafe {
        unguarded::pgstat_report_activity(state, shown);
    }
}

/// Whether a message shows a tree of nodes in its DETAIL (`debug_print_parse` and the like).
///
/// # Safety
///
/// `message` must be the one that Postgres passes to `emit_log_hook`.
unsafe fn is_tree(message: *const pg_sys::ErrorData) -> bool {
    // SAFETY: as the caller promises: NULL, or the name of the C function that raised the message.
    unsafe {
        let function = (*message).funcname;
        !function.is_null() && CStr::from_ptr(function) == c"elog_node_display"
    }
}

/// Whether a tree of nodes may hold a token or a JWK, even one that was bound as a parameter.
///
/// # Safety
///
/// `tree` must be NULL or NUL-terminated.
unsafe fn may_hold_secret_in_tree(tree: *const c_char) -> bool {
    // SAFETY: as the caller promises.
    !tree.is_null() && may_be_in_tree(unsafe { CStr::from_ptr(tree) }.to_bytes())
}

/// # Safety
///
/// `text` must be NULL or NUL-terminated and writable.
unsafe fn hide_in_place(text: *mut c_char) {
    const HIDDEN: &CStr = c"<secret>";
    // SAFETY: as the caller promises; what is written is not longer than what is there.
    unsafe {
        if text.is_null() {
            return;
        }
        if CStr::from_ptr(text).count_bytes() < HIDDEN.count_bytes() {
            text.write(0);
        } else {
            std::ptr::copy_nonoverlapping(HIDDEN.as_ptr(), text, HIDDEN.to_bytes_with_nul().len());
        }
    }
}

/// # Safety
///
/// `text` must be NULL or NUL-terminated and writable.
unsafe fn redact_in_place(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: as the caller promises; the text does not get longer, so its NUL stays within.
    unsafe {
        let length = CStr::from_ptr(text).count_bytes();
        let length = redact(std::slice::from_raw_parts_mut(text.cast(), length));
        text.add(length).write(0);
    }
}
