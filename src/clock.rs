//! The clock that tokens are held against: when the current statement began.
//!
//! Postgres's statement start is that of the client's message, and a procedure that commits goes on
//! under it; but its next transaction then starts later, so the later of the two is taken.

use jwt_verify::UnixMicros;
use pgrx::pg_sys;

use crate::unguarded;

/// Microseconds from 1970-01-01 (Unix) to 2000-01-01 (Postgres).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Tells one statement from another, and one transaction within a procedure from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    statement: pg_sys::TimestampTz,
    transaction: pg_sys::TimestampTz,
}

impl Stamp {
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

    /// The time that it stands for.
    pub fn time(self) -> UnixMicros {
        let start = self.statement.max(self.transaction);
        if start == 0 {
            // A background worker that has never announced a statement; without this, its clock
            // would stand at 2000-01-01 and accept whatever has expired since.
            // SAFETY: reads the system's clock and nothing else.
            return from_postgres(unsafe { pg_sys::GetCurrentTimestamp() });
        }
        from_postgres(start)
    }
}

/// A `timestamptz` as Unix time; the two infinities stay the ends of the range.
pub fn from_postgres(timestamp: pg_sys::TimestampTz) -> UnixMicros {
    match timestamp {
        i64::MIN | i64::MAX => timestamp,
        finite => finite.saturating_add(POSTGRES_EPOCH),
    }
}
