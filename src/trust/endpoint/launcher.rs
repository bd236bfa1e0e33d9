//! The launcher: has keys fetched when they are due, also where no token is verified meanwhile.
//!
//! There is one where the server itself loads the library (`shared_preload_libraries`). It is
//! connected to no database; for each database with a fetch that is due it starts one refreshing
//! process, which notes when the next one is due in the [`timetable`].

use std::ffi::CStr;
use std::time::Duration;

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::guard;
use crate::pg::report::Report;
use crate::pg::worker::{self, Spec};
use crate::settings;
use crate::trust::endpoint::rows;
use crate::trust::endpoint::state::{self, CLAIM};
use crate::trust::endpoint::timetable;
use crate::trust::endpoint::worker::{FUNCTION, NAME, extra_of_launcher};

const LAUNCHER: &CStr = c"pg_auth_jwt launcher";
const LAUNCHER_FUNCTION: &CStr = c"pg_auth_jwt_launcher_main";

/// How often the timetable is looked at, in which others may have noted an earlier time.
const LOOK: Duration = Duration::from_secs(5);

/// How long a process that was started is waited for, so that there is one at a time.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often it is looked at, besides each time that Postgres says that it has ended.
const POLL: Duration = Duration::from_millis(500);

/// Has the server start the launcher; to be called while the server itself loads the library.
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
            // What was due before the server was stopped, and what nobody has noted since.
            for database in worker::databases() {
                timetable::note(database, Some(UnixTime::MIN));
            }
            loop {
                worker::reload_settings();
                if settings::fetching_is_on() {
                    start_due();
                }
                worker::wait(next_look());
            }
        });
    }
}

/// How long nothing is due.
fn next_look() -> Duration {
    let now = rows::now();
    let next = timetable::all().into_iter().map(|(_, due)| due).min();
    match next {
        Some(next) if settings::fetching_is_on() => {
            LOOK.min(next.max(now).abs_diff(now).max(Duration::from_millis(100)))
        }
        _ => LOOK,
    }
}

/// Starts a process for each database with a fetch that is due, one after the other.
fn start_due() {
    let now = rows::now();
    let due: Vec<_> = timetable::all()
        .into_iter()
        .filter(|(_, due)| *due != UnixTime::MAX && state::is_due(Some(*due), now))
        .map(|(database, _)| database)
        .collect();
    if due.is_empty() {
        return;
    }
    let present = worker::databases();
    for database in due {
        if !present.contains(&database) {
            timetable::forget(database);
            continue;
        }
        // If the process notes nothing, because it cannot be started or fails.
        timetable::note(database, Some(rows::now().saturating_add(CLAIM)));
        let spec = Spec {
            name: NAME,
            function: FUNCTION,
            database,
            extra: extra_of_launcher(),
            notify: true,
        };
        spec.run(PATIENCE, POLL);
    }
}
