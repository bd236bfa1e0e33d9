//! Times at which the next fetch of each database is due, in shared memory, for the launcher.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use jwks_rules::schedule;
use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::clock;
use crate::pg::report;
use crate::pg::shared::Area;

/// Number of databases with endpoints that have a line. Further databases are only found by the
/// launcher's round, like databases without endpoints.
const DATABASES: usize = 256;

/// A line is claimed for a database by compare-and-swap, and freed if nothing is to be fetched. No
/// lock keeps two processes from claiming one each for the same database, nor a time from being
/// stored in a line that has another database by then. So a note goes into all lines of the
/// database, and the launcher looks at each database now and then, whatever the table says.
struct Line {
    /// Oid of the database; 0: free.
    database: AtomicU32,
    /// Time of the next fetch, in Postgres's time.
    due: AtomicI64,
    /// Number of processes in a row that found an issuer that stayed due although it was tried.
    stuck: AtomicU32,
}

/// The table. Zeros are an empty table.
pub struct Timetable {
    lines: [Line; DATABASES],
    /// Whether a database found no free line.
    is_full: AtomicBool,
}

/// Shared memory with the table, if there is a launcher.
pub static TIMETABLE: Area<Timetable> = Area::new(c"pg_auth_jwt timetable");

/// Whether there is a launcher, which begins fetches that are due.
pub fn has_launcher() -> bool {
    TIMETABLE.get().is_some()
}

/// As [`note`], by a process that has tried the issuers that were due. If one of them is still due,
/// it is tried again after 10 seconds, then after twice the time each time, as after a failure:
/// whatever the reason, processes must not be started for it all the time.
pub fn note_tried(database: pg_sys::Oid, due: Option<UnixTime>, is_stuck: bool, now: UnixTime) {
    let times = TIMETABLE
        .get()
        .map_or(0, |table| table.count_stuck(database.to_u32(), is_stuck));
    let again = is_stuck.then(|| now.saturating_add(schedule::after_failure(times, None, 0)));
    note(database, due.into_iter().chain(again).min());
}

/// Notes when the next fetch of a database is due; `None`: nothing is to be fetched.
pub fn note(database: pg_sys::Oid, due: Option<UnixTime>) {
    let Some(table) = TIMETABLE.get() else {
        return;
    };
    let has_line = table.note(database.to_u32(), due.map(clock::to_postgres));
    if !has_line && !table.is_full.swap(true, Ordering::Relaxed) {
        report::log_to_server(&format!(
            "more than {DATABASES} databases have keys fetched: those beyond are looked at every 10 minutes"
        ));
    }
}

/// Forgets a database that was dropped.
pub fn forget(database: pg_sys::Oid) {
    note(database, None);
}

/// Time at which the next fetch of a database is due; `None` if it has no line.
pub fn due(database: pg_sys::Oid) -> Option<UnixTime> {
    let mut lines = all().into_iter();
    lines
        .find(|(other, _)| *other == database)
        .map(|(_, due)| due)
}

/// The databases in the table, each once, with the time of its next fetch.
pub fn all() -> Vec<(pg_sys::Oid, UnixTime)> {
    let lines = TIMETABLE.get().map(Timetable::all).unwrap_or_default();
    lines
        .into_iter()
        .map(|(database, due)| (pg_sys::Oid::from(database), clock::from_postgres(due)))
        .collect()
}

impl Timetable {
    /// False if the database needs a line, and none is free.
    fn note(&self, database: u32, due: Option<pg_sys::TimestampTz>) -> bool {
        let ours = || {
            self.lines
                .iter()
                .filter(|line| line.database.load(Ordering::Acquire) == database)
        };
        let Some(due) = due else {
            for line in ours() {
                line.stuck.store(0, Ordering::Relaxed);
                line.database.store(0, Ordering::Release);
                self.is_full.store(false, Ordering::Relaxed);
            }
            return true;
        };
        if ours().next().is_none() {
            let claimed = self.lines.iter().any(|line| {
                line.database
                    .compare_exchange(0, database, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            });
            if !claimed {
                return false;
            }
        }
        for line in ours() {
            line.due.store(due, Ordering::Release);
        }
        true
    }

    /// Number of times in a row that the database was stuck, this one included.
    fn count_stuck(&self, database: u32, is_stuck: bool) -> u32 {
        let of_database = |line: &&Line| line.database.load(Ordering::Acquire) == database;
        let mut most = 0;
        for line in self.lines.iter().filter(of_database) {
            let times = match is_stuck {
                true => line.stuck.load(Ordering::Relaxed).saturating_add(1),
                false => 0,
            };
            line.stuck.store(times, Ordering::Relaxed);
            most = most.max(times);
        }
        most
    }

    fn all(&self) -> Vec<(u32, pg_sys::TimestampTz)> {
        let mut found = Vec::new();
        for line in &self.lines {
            let database = line.database.load(Ordering::Acquire);
            if database != 0 {
                found.push((database, line.due.load(Ordering::Acquire)));
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(database, _)| *database);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Timetable {
        Timetable {
            lines: std::array::from_fn(|_| Line {
                database: AtomicU32::new(0),
                due: AtomicI64::new(0),
                stuck: AtomicU32::new(0),
            }),
            is_full: AtomicBool::new(false),
        }
    }

    #[test]
    fn a_database_with_two_lines_is_noted_in_both() {
        let table = empty();
        // Two lines, as two processes leave them that note it first, at the same moment.
        for line in &table.lines[3..5] {
            line.database.store(7, Ordering::Relaxed);
            line.due.store(1, Ordering::Relaxed);
        }
        assert!(table.note(7, Some(50)));
        assert_eq!(table.all(), [(7, 50)]);
        assert!(table.note(7, None));
        assert_eq!(table.all(), []);
    }

    #[test]
    fn a_database_that_stays_due_is_counted_until_it_does_not() {
        let table = empty();
        assert!(table.note(7, Some(1)));
        let counts = [true, true, true, false, true].map(|stuck| table.count_stuck(7, stuck));
        assert_eq!(counts, [1, 2, 3, 0, 1]);
        // Nothing is known of another database, or one without a line.
        assert_eq!(table.count_stuck(8, true), 0);
        assert!(table.note(7, None));
        assert!(table.note(9, Some(1)));
        assert_eq!(table.count_stuck(9, true), 1, "the line's former database");
    }

    #[test]
    fn lines_of_databases_without_endpoints_are_free() {
        let table = empty();
        for database in 1..=256 {
            assert!(table.note(database, Some(1)), "{database}");
        }
        assert!(!table.note(1_000, Some(2)), "full");
        assert!(table.note(1_001, None), "needs none");
        assert!(table.note(9, None));
        assert!(table.note(1_000, Some(2)));
        assert_eq!(table.all().last(), Some(&(1_000, 2)));
    }
}
