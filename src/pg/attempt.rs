//! Errors of Postgres that do not end what is going on: transactions of a background worker, and subtransactions.

use std::ffi::c_int;
use std::fmt;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder};

use crate::pg::report::{Report, SqlState};
use crate::pg::sandbox;

/// Reason why a transaction was rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// SQLSTATE, as `SqlState::encoded` gives it.
    code: c_int,
    message: String,
}

impl Failure {
    /// Whether it has this SQLSTATE.
    pub fn is(&self, sqlstate: SqlState) -> bool {
        self.code == sqlstate.encoded()
    }

    /// SQLSTATE, as `SqlState::encoded` gives it.
    #[cfg(login_by_token)]
    pub fn code(&self) -> c_int {
        self.code
    }

    #[cfg(login_by_token)]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn of(caught: &CaughtError) -> Self {
        let (CaughtError::PostgresError(error)
        | CaughtError::ErrorReport(error)
        | CaughtError::RustPanic { ereport: error, .. }) = caught;
        Self {
            code: error.sql_error_code() as c_int,
            message: error.message().to_owned(),
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self {
            code: report.sqlstate.encoded(),
            message: report.message,
        }
    }
}

/// The SQLSTATE, and the message, which may have any length.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("SQLSTATE ")?;
        // MAKE_SQLSTATE of src/include/utils/elog.h: six bits a character.
        for shift in [0, 6, 12, 18, 24] {
            let bits = u8::try_from((self.code >> shift) & 0x3F).unwrap_or(0);
            write!(f, "{}", char::from(b'0'.saturating_add(bits)))?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Runs `body` in a transaction, as [`transaction`](crate::pg::worker::transaction) does, and rolls
/// it back if `body` returns an error, or if an error is raised, in the commit too.
///
/// A cancellation, and an error that ends the process, are raised all the same.
pub fn transaction<T>(
    role: impl FnOnce() -> Option<pg_sys::Oid>,
    body: impl FnOnce() -> Result<T, Report>,
) -> Result<Option<T>, Failure> {
    // SAFETY: as a worker does it (src/test/modules/worker_spi/worker_spi.c).
    let run = || unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let value = role()
            .map(|role| sandbox::as_role(role, body))
            .transpose()?;
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        Ok(value)
    };
    let outcome = caught(run);
    if outcome.is_err() {
        // SAFETY: as PostgresMain does it after an error (src/backend/tcop/postgres.c). The error's
        // state was cleared where it was caught. This gives the role, the locks and SPI's
        // connection back, and switches to a memory context that outlives the transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    outcome
}

/// Runs `body` in a subtransaction that is rolled back at its end: what it raises, apart from a cancellation, is
/// returned. `body` must return nothing that ends with the subtransaction.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub fn undone<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    caught(|| Ok(sandbox::undone(body)))
}

/// As [`undone`], and a cancellation is returned too. For a process that ends after a failure.
#[cfg(login_by_token)]
pub fn contained<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    contained_without_undo(|| sandbox::undone(body))
}

/// As [`contained`], and `body` has effects.
#[cfg(login_by_token)]
pub fn contained_without_undo<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|caught| Err(Failure::of(&caught)))
        .execute()
}

/// Runs `body`, and returns what it raises, apart from a cancellation.
fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    PgTryBuilder::new(AssertUnwindSafe(body))
        .catch_others(|caught| match &caught {
            CaughtError::PostgresError(error)
                if error.sql_error_code() == PgSqlErrorCode::ERRCODE_QUERY_CANCELED =>
            {
                caught.rethrow()
            }
            _ => Err(Failure::of(&caught)),
        })
        .execute()
}
