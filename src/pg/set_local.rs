//! SET LOCAL as a statement of its own, which the utility hooks of other libraries get.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::pg::unguarded::{self, hooks, nodes};

/// Runs `SET LOCAL name = 'value'` as a utility statement, by the hooks that are installed.
///
/// The text is the statement's own and no client's: it is not in `debug_query_string`, so neither
/// the log nor `pg_stat_activity` quotes it. `pg_stat_statements` skips a statement without query
/// id.
///
/// # Safety
///
/// An error leaves by `longjmp`. `name` must be one that needs no quotes, and `value` be
/// NUL-terminated.
pub unsafe fn as_statement(name: &CStr, value: *const c_char) {
    use pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY;
    // SAFETY: as the caller promises. Everything is in the current memory context. The parser makes
    // a list of one RawStmt of a text that is one statement.
    unsafe {
        let value = unguarded::quote_literal_cstr(value);
        let text = nodes::psprintf(c"SET LOCAL %s = %s".as_ptr(), name.as_ptr(), value);
        let parsed = unguarded::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let Some(parsed) = nodes::items::<pg_sys::RawStmt>(parsed).next() else {
            return;
        };
        let statement: *mut pg_sys::PlannedStmt = nodes::make_node(pg_sys::NodeTag::T_PlannedStmt);
        (*statement).commandType = pg_sys::CmdType::CMD_UTILITY;
        (*statement).canSetTag = true;
        (*statement).utilityStmt = (*parsed).stmt;
        hooks::ProcessUtility(
            statement,
            text,
            false,
            PROCESS_UTILITY_QUERY,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::None_Receiver,
            std::ptr::null_mut(),
        );
    }
}
