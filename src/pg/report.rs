//! Raising errors with SQLSTATEs of our own.
//!
//! pgrx's `ereport!` only accepts the SQLSTATEs that Postgres itself names, and maps every other
//! one to `XX000`. So a report is returned as a value to the outermost function, which raises it
//! once no Rust value needs a drop.

use std::backtrace::BacktraceStatus;
use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportWithLevel;

use crate::pg::encoding;
use crate::pg::unguarded::elog;

/// A SQLSTATE of five digits and upper-case letters: a class of two, and three within it
/// (Postgres's src/backend/utils/errcodes.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlState(pub &'static [u8; 5]);

/// Postgres's own SQLSTATEs, by its names.
impl SqlState {
    pub const SUCCESSFUL_COMPLETION: Self = Self(b"00000");
    pub const WARNING: Self = Self(b"01000");
    pub const FEATURE_NOT_SUPPORTED: Self = Self(b"0A000");
    pub const NULL_VALUE_NOT_ALLOWED: Self = Self(b"22004");
    pub const INVALID_PARAMETER_VALUE: Self = Self(b"22023");
    pub const UNTRANSLATABLE_CHARACTER: Self = Self(b"22P05");
    pub const FOREIGN_KEY_VIOLATION: Self = Self(b"23503");
    pub const CHECK_VIOLATION: Self = Self(b"23514");
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self(b"25006");
    pub const NO_ACTIVE_SQL_TRANSACTION: Self = Self(b"25P01");
    pub const TRIGGER_PROTOCOL_VIOLATED: Self = Self(b"39P01");
    pub const SERIALIZATION_FAILURE: Self = Self(b"40001");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(b"42501");
    pub const INVALID_NAME: Self = Self(b"42602");
    pub const UNDEFINED_OBJECT: Self = Self(b"42704");
    pub const WRONG_OBJECT_TYPE: Self = Self(b"42809");
    pub const UNDEFINED_TABLE: Self = Self(b"42P01");
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(b"55000");
    pub const LOCK_NOT_AVAILABLE: Self = Self(b"55P03");
    pub const QUERY_CANCELED: Self = Self(b"57014");
}

impl SqlState {
    /// The number of `MAKE_SQLSTATE` (src/include/utils/elog.h): six bits a character.
    pub fn encoded(self) -> c_int {
        self.0.iter().rev().fold(0, |code, &ch| {
            (code << 6) | (c_int::from(ch.wrapping_sub(b'0')) & 0x3F)
        })
    }
}

/// An error to be raised, with the fields that Postgres's errors have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub sqlstate: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Report {
    /// A report without DETAIL and HINT.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// Adds the DETAIL: the rule and the reason, as sentences.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.detail_if(Some(detail))
    }

    /// As [`detail`](Self::detail), if there is one.
    #[must_use]
    pub fn detail_if(self, detail: Option<impl Into<String>>) -> Self {
        Self {
            detail: detail.map(Into::into),
            ..self
        }
    }

    /// Adds the HINT: the next step, as sentences.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_if(Some(hint))
    }

    /// As [`hint`](Self::hint), if there is one.
    #[must_use]
    pub fn hint_if(self, hint: Option<impl Into<String>>) -> Self {
        Self {
            hint: hint.map(Into::into),
            ..self
        }
    }

    /// Raises it as an ERROR. Does not return.
    ///
    /// # Safety
    ///
    /// Must only be called if no Rust frame between here and Postgres holds anything to drop: it leaves
    /// by `longjmp`.
    #[cold]
    pub unsafe fn raise(self) -> ! {
        // SAFETY: as the caller promises.
        unsafe {
            raise(Parts {
                code: self.sqlstate.encoded(),
                message: self.message,
                detail: self.detail,
                detail_log: None,
                hint: self.hint,
            })
        }
    }
}

/// Raises an error that pgrx made. Stack frames of Rust (`RUST_BACKTRACE`) never go to the client.
/// Those of a panic, which is a bug in the extension, go to the log, with the place.
///
/// # Safety
///
/// As for [`Report::raise`].
#[cold]
pub unsafe fn raise_foreign(error: ErrorReportWithLevel, is_panic: bool) -> ! {
    let detail_log = is_panic.then(|| {
        let place = format!("Panic at {}:{}.", error.file(), error.line_number());
        match error.backtrace() {
            Some(frames) if frames.status() == BacktraceStatus::Captured => {
                format!("{place}\n{frames}")
            }
            _ => place,
        }
    });
    let parts = Parts {
        code: error.sql_error_code() as c_int,
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        detail_log,
        hint: error.hint().map(str::to_owned),
    };
    drop(error);
    // SAFETY: as the caller promises.
    unsafe { raise(parts) }
}

/// The fields of a message.
struct Parts {
    code: c_int,
    message: String,
    detail: Option<String>,
    /// Replaces the detail in the log.
    detail_log: Option<String>,
    hint: Option<String>,
}

/// # Safety
///
/// As for [`Report::raise`].
unsafe fn raise(parts: Parts) -> ! {
    // SAFETY: the sequence that ereport() expands to. errmsg and similar functions copy the
    // strings, which are dropped before errfinish, which does not return.
    unsafe {
        elog::errstart(elog::ERROR, std::ptr::null());
        elog::errcode(parts.code);
        with_c_string(parts.message, |message| {
            elog::errmsg(c"%s".as_ptr(), message)
        });
        if let Some(detail) = parts.detail {
            with_c_string(detail, |detail| elog::errdetail(c"%s".as_ptr(), detail));
        }
        if let Some(detail) = parts.detail_log {
            with_c_string(detail, |detail| elog::errdetail_log(c"%s".as_ptr(), detail));
        }
        if let Some(hint) = parts.hint {
            with_c_string(hint, |hint| elog::errhint(c"%s".as_ptr(), hint));
        }
        // The failing statement may hold the token as a literal, and the log would quote it.
        elog::errhidestmt(true);
        elog::errfinish(c"pg_auth_jwt".as_ptr(), 0, std::ptr::null());
    }
    // errfinish does not return from an ERROR.
    std::process::abort()
}

/// Writes a line to the server's log and not to the client, without the statement, which may hold
/// the token.
pub fn log_to_server(line: &str) {
    let line = encoding::to_server_c_string(line);
    // SAFETY: the sequence that ereport() expands to. Below ERROR it returns, unless memory runs
    // out or the statement was cancelled meanwhile, which errfinish checks: hence the guard, whose
    // closure holds nothing that needs a drop.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if elog::errstart(elog::LOG_SERVER_ONLY, std::ptr::null()) {
                elog::errmsg(c"%s".as_ptr(), line.as_ptr());
                elog::errhidestmt(true);
                elog::errfinish(c"pg_auth_jwt".as_ptr(), 0, std::ptr::null());
            }
        });
    }
}

/// Writes a message with an SQLSTATE, as [`SqlState::encoded`] gives it, to the server's log and not to the client.
#[cfg(login_by_token)]
pub fn log_with_code(code: c_int, message: &str, detail: Option<&str>, hint: Option<&str>) {
    send(elog::LOG_SERVER_ONLY, code, message, detail, hint);
}

/// Writes a WARNING to the server's log. For a client that is not authenticated yet, Postgres sends it nothing below
/// ERROR (src/backend/utils/error/elog.c).
#[cfg(login_by_token)]
pub fn warn_log(message: &str, detail: Option<&str>, hint: Option<&str>) {
    send(
        elog::WARNING,
        SqlState::WARNING.encoded(),
        message,
        detail,
        hint,
    );
}

/// Raises a WARNING.
pub fn warn(message: &str, detail: &str) {
    warning(&Report {
        sqlstate: SqlState(b"01000"),
        message: message.to_owned(),
        detail: Some(detail.to_owned()),
        hint: None,
    });
}

/// As [`warn`], with a report that already exists.
pub fn warning(report: &Report) {
    tell(elog::WARNING, report);
}

/// Raises a NOTICE.
pub fn notice(report: &Report) {
    tell(elog::NOTICE, report);
}

fn tell(level: c_int, report: &Report) {
    send(
        level,
        report.sqlstate.encoded(),
        &report.message,
        report.detail.as_deref(),
        report.hint.as_deref(),
    );
}

fn send(level: c_int, sqlstate: c_int, message: &str, detail: Option<&str>, hint: Option<&str>) {
    let message = encoding::to_server_c_string(message);
    let detail = detail.map(encoding::to_server_c_string);
    let hint = hint.map(encoding::to_server_c_string);
    // SAFETY: as above.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if elog::errstart(level, std::ptr::null()) {
                elog::errcode(sqlstate);
                elog::errmsg(c"%s".as_ptr(), message.as_ptr());
                if let Some(detail) = &detail {
                    elog::errdetail(c"%s".as_ptr(), detail.as_ptr());
                }
                if let Some(hint) = &hint {
                    elog::errhint(c"%s".as_ptr(), hint.as_ptr());
                }
                elog::errfinish(c"pg_auth_jwt".as_ptr(), 0, std::ptr::null());
            }
        });
    }
}

fn with_c_string(rust: String, copy: impl FnOnce(*const c_char) -> c_int) {
    // The string is consumed, so that nothing needs a drop when the error leaves.
    let c: CString = encoding::to_server_c_string(&rust);
    copy(c.as_ptr());
}
