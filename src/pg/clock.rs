//! The clock that tokens are compared with: the start of the current statement.
//!
//! Postgres's statement start is the start of the client's message, and stays the same while a
//! procedure commits. The procedure's next transaction starts later, so the later of the two times
//! is used.

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::unguarded;

/// Microseconds from 1970-01-01 (Unix) to 2000-01-01 (Postgres).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Identifies a statement, and a transaction within a procedure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatementId {
    statement: pg_sys::TimestampTz,
    transaction: pg_sys::TimestampTz,
}

impl StatementId {
    /// Differs from the id of every statement.
    pub const NEVER: Self = Self {
        statement: i64::MIN,
        transaction: i64::MIN,
    };

    /// The id of the current statement. Cheap enough to be computed for each row.
    #[inline]
    pub fn current() -> Self {
        Self {
            statement: unguarded::GetCurrentStatementStartTimestamp(),
            transaction: unguarded::GetCurrentTransactionStartTimestamp(),
        }
    }

    /// Whether ids distinguish statements here: they do if a client's messages, or a parallel
    /// leader's, start them. A background worker that announces no statement keeps the id of its
    /// start.
    pub fn are_distinct() -> bool {
        // SAFETY: reads two variables of the backend.
        unsafe { !pg_sys::MyProcPort.is_null() || pg_sys::ParallelWorkerNumber >= 0 }
    }

    /// The time of the statement.
    pub fn time(self) -> UnixTime {
        if !Self::are_distinct() {
            // Without this such a worker would accept tokens that expired after its start.
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

/// Unix time as a `timestamptz`; a time that this type cannot hold becomes one of the two
/// infinities.
pub fn to_postgres(time: UnixTime) -> pg_sys::TimestampTz {
    // MIN_TIMESTAMP and END_TIMESTAMP of src/include/datatype/timestamp.h.
    const FIRST: i64 = -211_813_488_000_000_000;
    const END: i64 = 9_223_371_331_200_000_000;
    if time == UnixTime::MAX {
        return i64::MAX;
    }
    match time.as_micros().saturating_sub(POSTGRES_EPOCH) {
        early if early < FIRST => i64::MIN,
        late if late >= END => i64::MAX,
        finite => finite,
    }
}
