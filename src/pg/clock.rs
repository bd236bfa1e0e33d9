//! The clock that tokens are held against: when the current statement began.
//!
//! Postgres's statement start is that of the client's message, and a procedure that commits goes on
//! under it; but its next transaction then starts later, so the later of the two is taken.

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::unguarded;

/// Microseconds from 1970-01-01 (Unix) to 2000-01-01 (Postgres).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Tells one statement from another, and one transaction within a procedure from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatementId {
    statement: pg_sys::TimestampTz,
    transaction: pg_sys::TimestampTz,
}

impl StatementId {
    /// Equal to no statement's.
    pub const NEVER: Self = Self {
        statement: i64::MIN,
        transaction: i64::MIN,
    };

    /// The current statement's. Cheap enough to be taken for each row.
    #[inline]
    pub fn current() -> Self {
        Self {
            statement: unguarded::GetCurrentStatementStartTimestamp(),
            transaction: unguarded::GetCurrentTransactionStartTimestamp(),
        }
    }

    /// Whether ids tell statements apart here: where a client's messages begin them, or a leader's.
    /// A background worker that announces no statement has the id of its start all its life.
    pub fn are_distinct() -> bool {
        // SAFETY: reads two variables of the backend.
        unsafe { !pg_sys::MyProcPort.is_null() || pg_sys::ParallelWorkerNumber >= 0 }
    }

    /// The time that it stands for.
    pub fn time(self) -> UnixTime {
        if !Self::are_distinct() {
            // Without this such a worker would accept whatever has expired since its start.
            // SAFETY: reads the system's clock and nothing else.
            return from_postgres(unsafe { pg_sys::GetCurrentTimestamp() });
        }
        let start = self.statement.max(self.transaction);
        from_postgres(start)
    }
}

/// A `timestamptz` as Unix time; the two infinities stay the ends of the range.
pub fn from_postgres(timestamp: pg_sys::TimestampTz) -> UnixTime {
    UnixTime::from_micros(match timestamp {
        i64::MIN | i64::MAX => timestamp,
        finite => finite.saturating_add(POSTGRES_EPOCH),
    })
}

/// Unix time as a `timestamptz`; the ends of the range are the two infinities.
pub fn to_postgres(time: UnixTime) -> pg_sys::TimestampTz {
    match time.as_micros() {
        end @ (i64::MIN | i64::MAX) => end,
        finite => finite.saturating_sub(POSTGRES_EPOCH),
    }
}
