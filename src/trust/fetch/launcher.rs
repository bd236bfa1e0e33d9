//! The launcher: has keys fetched when they are due, even if no token is verified meanwhile.
//!
//! There is one if the server itself loads the library (`shared_preload_libraries`). It is
//! connected to no database; for each database with a fetch that is due it starts one fetching
//! process, which notes when the next one is due in the [`timetable`].

use std::collections::HashMap;
use std::ffi::CStr;
use std::time::Duration;

use jwks_rules::schedule::{self, CLAIM};
use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::guard;
use crate::pg::report::{self, Report};
use crate::pg::worker::{self, Spec};
use crate::settings;
use crate::trust::fetch::timetable;
use crate::trust::fetch::worker::{FUNCTION, NAME, extra_of_launcher};
use crate::trust::sql;

const LAUNCHER: &CStr = c"pg_auth_jwt launcher";
const LAUNCHER_FUNCTION: &CStr = c"pg_auth_jwt_launcher_main";

/// Interval at which it reads the timetable, in which others may have noted an earlier time.
const LOOK: Duration = Duration::from_secs(5);

/// Interval at which it looks at every database, beside each reload of the settings.
const ROUND: Duration = Duration::from_secs(600);

/// Time that it waits for a started process, so that there is one at a time.
const PATIENCE: Duration = Duration::from_secs(6);

/// Interval at which it looks at that process, beside each signal of Postgres that it has ended.
const POLL: Duration = Duration::from_millis(500);

/// Has the server start the launcher; call it while the server itself loads the library.
pub fn register() {
    worker::register_launcher(LAUNCHER, LAUNCHER_FUNCTION, CLAIM);
}

/// The launcher's function.
///
/// # Safety
///
/// Only Postgres may call it, in a background worker.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_auth_jwt_launcher_main(_: pg_sys::Datum) {
    // SAFETY: this is the worker's first function, and nothing in this frame needs a drop.
    unsafe {
        guard::run(|| -> Result<(), Report> {
            worker::connect_to_no_database();
            let mut launcher = Launcher::default();
            loop {
                if worker::reload_settings() {
                    // Other hosts may be listed now.
                    launcher.next_round = None;
                }
                if settings::fetching_is_on() {
                    launcher.start_due();
                }
                worker::wait(launcher.next_look());
            }
        });
    }
}

/// State of the launcher.
#[derive(Default)]
struct Launcher {
    /// Time at which it looks at every database again; `None`: now.
    next_round: Option<UnixTime>,
    /// Number of times in a row that the process for a database ended without a note.
    failures: HashMap<pg_sys::Oid, u32>,
    /// Whether no process could be started the last time.
    none_was_free: bool,
}

impl Launcher {
    /// Time until the next look.
    fn next_look(&self) -> Duration {
        if !settings::fetching_is_on() {
            return LOOK;
        }
        let now = sql::now();
        let lines = timetable::all().into_iter().map(|(_, due)| due);
        let next = lines.chain(self.next_round).min().unwrap_or(now);
        LOOK.min(next.max(now).abs_diff(now).max(Duration::from_millis(100)))
    }

    /// Starts a process for each database with a fetch that is due, one after the other.
    fn start_due(&mut self) {
        let now = sql::now();
        let is_due = |due: &UnixTime| schedule::is_due(Some(*due), now);
        let lines = timetable::all();
        let due = lines.iter().filter(|(_, due)| is_due(due));
        let mut wanted: Vec<_> = due.map(|(database, _)| *database).collect();
        let is_round = self.next_round.as_ref().is_none_or(is_due);
        if wanted.is_empty() && !is_round {
            return;
        }
        let present = worker::databases();
        for (database, _) in &lines {
            if !present.contains(database) {
                timetable::forget(*database);
            }
        }
        if is_round {
            self.next_round = Some(now.saturating_add(ROUND));
            self.failures
                .retain(|database, _| present.contains(database));
            // Finds fetches that were due before the server was stopped, and those that nothing has
            // noted since: of sources that were written by plain SQL, restored, or committed long
            // after they were written.
            let others = present.iter().filter(|other| !wanted.contains(other));
            let others: Vec<_> = others.copied().collect();
            wanted.extend(others);
        }
        wanted.retain(|database| present.contains(database));
        for database in wanted {
            self.start(database);
        }
    }

    /// Starts the process for a database, and waits for its end.
    fn start(&mut self, database: pg_sys::Oid) {
        // This time counts if the process notes nothing, because it cannot be started or fails.
        let former = timetable::due(database);
        let again = sql::now().saturating_add(CLAIM);
        timetable::note(database, Some(again));
        let spec = Spec {
            name: NAME,
            function: FUNCTION,
            argument: database.to_u32(),
            extra: extra_of_launcher(),
            on_standby: false,
            notify: true,
        };
        let is_started = spec.run(PATIENCE, POLL);
        if !is_started && !self.none_was_free {
            report::log_to_server(
                "keys are not fetched, because all of max_worker_processes are taken",
            );
        }
        self.none_was_free = !is_started;
        if !is_started {
            return;
        }
        if timetable::due(database) != Some(again) {
            self.failures.remove(&database);
            return;
        }
        let failures = self.failures.entry(database).or_default();
        *failures = failures.saturating_add(1);
        let wait = schedule::after_failure(*failures, None, 0);
        // A database without a known endpoint waits for the next round.
        let next = former.map(|_| sql::now().saturating_add(wait));
        timetable::note(database, next);
    }
}
