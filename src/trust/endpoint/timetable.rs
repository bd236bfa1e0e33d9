//! When the next fetch of each database is due: in shared memory, for the launcher.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::clock;
use crate::pg::shared::Area;

/// How many databases the launcher knows. Those beyond are fetched for as without a launcher: when
/// a token is verified.
const DATABASES: usize = 256;

/// A line is claimed once for a database, by compare-and-swap; then only its time changes. The line
/// of a dropped database is reused.
struct Line {
    /// 0: free.
    database: AtomicU32,
    /// In Postgres's time; [`NEVER`]: nothing is to be fetched.
    due: AtomicI64,
}

const NEVER: pg_sys::TimestampTz = i64::MAX;

/// The table. Zeros are an empty one.
pub struct Timetable([Line; DATABASES]);

/// Where it is, if there is a launcher.
pub static TIMETABLE: Area<Timetable> = Area::new(c"pg_auth_jwt timetable");

/// Notes when the next fetch of a database is due; `None`: none is.
pub fn note(database: pg_sys::Oid, due: Option<UnixTime>) {
    let Some(Timetable(lines)) = TIMETABLE.get() else {
        return;
    };
    let database = database.to_u32();
    let is_ours = |line: &&Line| line.database.load(Ordering::Acquire) == database;
    let line = lines.iter().find(is_ours).or_else(|| {
        due?;
        lines.iter().find(|line| {
            let claimed =
                line.database
                    .compare_exchange(0, database, Ordering::AcqRel, Ordering::Acquire);
            claimed.is_ok()
        })
    });
    if let Some(line) = line {
        line.due
            .store(due.map_or(NEVER, clock::to_postgres), Ordering::Release);
    }
}

/// The databases in the table, each with the time of its next fetch.
pub fn all() -> Vec<(pg_sys::Oid, UnixTime)> {
    let Some(Timetable(lines)) = TIMETABLE.get() else {
        return Vec::new();
    };
    let lines = lines.iter().map(|line| {
        let database = line.database.load(Ordering::Acquire);
        let due = clock::from_postgres(line.due.load(Ordering::Acquire));
        (pg_sys::Oid::from(database), due)
    });
    lines
        .filter(|(database, _)| *database != pg_sys::InvalidOid)
        .collect()
}

/// Forgets a database that was dropped.
pub fn forget(database: pg_sys::Oid) {
    if let Some(Timetable(lines)) = TIMETABLE.get() {
        let database = database.to_u32();
        for line in lines {
            if line.database.load(Ordering::Acquire) == database {
                line.due.store(0, Ordering::Release);
                line.database.store(0, Ordering::Release);
            }
        }
    }
}
