//! `auth.refresh`: fetches keys now, and waits.

use std::time::{Duration, Instant};

use jwks_rules::fetch_state::{EndpointRow, FetchOutcome};
use jwt_verify::UnixTime;
use pgrx::prelude::*;

use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::worker;
use crate::settings;
use crate::trust::fetch::errors;
use crate::trust::fetch::start::{self, Obstacle, Started};
use crate::trust::fetch::worker::AT_ONCE;
use crate::trust::lookup;
use crate::trust::lookup::inventory;
use crate::trust::lookup::seen::Seen;
use crate::trust::sql;
use crate::trust::store::errors::{no_tables, on_standby};
use crate::trust::tables::Tables;

sql_function!(
    /// `auth.refresh(issuer text) RETURNS TABLE (issuer text, outcome text, detail text)`.
    pg_auth_jwt_refresh,
    |arguments| refresh(&arguments)
);

/// Time that it waits for each issuer, for its turn and for the fetch: longer than a fetch takes.
const PATIENCE: Duration = Duration::from_secs(6);

/// Time that it waits for a free process.
const MAX_FULL: Duration = Duration::from_secs(1);

/// Interval at which it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Number of processes that it starts for an issuer, if each ends without a fetch: others may have
/// been faster to begin one.
const MAX_STARTS: u32 = 5;

/// Time that it waits before it starts another process.
const PAUSE: Duration = Duration::from_millis(200);

/// A row of `auth.refresh()`.
struct Line {
    issuer: String,
    outcome: String,
    detail: Option<String>,
}

fn refresh(arguments: &Arguments) -> SqlResult {
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(on_standby("auth.refresh()"));
    }
    let rows = arguments.rows()?;
    let wanted = arguments.text(0)?;
    let tables = Tables::open().ok_or_else(no_tables)?;
    let followed: Vec<Seen> = match &wanted {
        Some(issuer) => {
            let seen = lookup::endpoint(&tables, issuer);
            vec![seen.ok_or_else(|| errors::issuer_not_fetched(issuer))?]
        }
        None => inventory::issuer_names(&tables)
            .iter()
            .filter_map(|name| lookup::endpoint(&tables, name))
            .collect(),
    };
    drop(tables);
    let since = sql::now();
    let lines: Vec<Line> = followed
        .into_iter()
        .map(|seen| refresh_one(seen, since))
        .collect();
    let text = |text: &str| encoding::to_server_lossy(text).as_bytes().into_datum();
    rows.fill(lines.iter().map(|line| {
        [
            text(&line.issuer),
            text(&line.outcome),
            line.detail.as_deref().and_then(text),
        ]
    }));
    Ok(None)
}

/// Fetches the keys of one issuer, unless another process has done so since that time.
fn refresh_one(seen: Seen, since: UnixTime) -> Line {
    // A process that was started for one issuer may fetch for others that are due.
    let present = Tables::open().and_then(|tables| lookup::endpoint(&tables, &seen.issuer));
    let seen = present.unwrap_or(seen);
    let line = |outcome: &str, detail: Option<String>| Line {
        issuer: seen.issuer.to_string(),
        outcome: outcome.to_owned(),
        detail,
    };
    if !settings::fetching_is_on() {
        let detail = "Nothing is fetched, because setting pg_auth_jwt.fetch_hosts is empty.";
        return line("not_started", Some(detail.to_owned()));
    }
    if !worker::may_start() {
        let detail = "No process can be started here.";
        return line("not_started", Some(detail.to_owned()));
    }
    match wait(&seen, since) {
        Ok(row) => {
            let outcome = row.outcome.map_or("", FetchOutcome::name);
            let detail = match row.outcome {
                Some(FetchOutcome::Failed) => row.last_error,
                Some(FetchOutcome::Changed | FetchOutcome::Unchanged | FetchOutcome::Outdated)
                | None => row.note,
            };
            line(outcome, detail)
        }
        Err(Miss::Obstacle(Obstacle::NoneFree)) => {
            let detail = "All of max_worker_processes are taken.";
            line("not_started", Some(detail.to_owned()))
        }
        Err(Miss::Obstacle(Obstacle::Busy)) => {
            let (server, database) = (AT_ONCE.server, AT_ONCE.database);
            let detail = format!(
                "Other fetches were running: at most {database} of a database and {server} of the server do at once."
            );
            line("not_started", Some(detail))
        }
        Err(Miss::Running) => {
            let detail = "A fetch that began before has left no outcome so far. If its process was ended, \
                          another one can begin 10 seconds after it began.";
            line("unknown", Some(detail.to_owned()))
        }
        Err(Miss::Gone) => {
            let detail = "The fetch has left no outcome: the issuer is not followed any more, or the \
                          extension was dropped, or this transaction, in which it was followed, is not \
                          committed; or the tables are locked. The server's log may tell more.";
            line("unknown", Some(detail.to_owned()))
        }
    }
}

/// Reason why there is no outcome.
enum Miss {
    /// No fetch could be started.
    Obstacle(Obstacle),
    /// A fetch that began has not ended.
    Running,
    /// None began, or the issuer is not followed any more.
    Gone,
}

/// Waits for the outcome of a fetch that ends after `first` was read, or began after `since`, and
/// starts it unless one is running.
fn wait(first: &Seen, since: UnixTime) -> Result<EndpointRow, Miss> {
    let start = Instant::now();
    let mut started: Option<(Started, Instant)> = None;
    let mut starts = 0_u32;
    // A started process may still find that others were faster, and all places taken.
    let mut met: Option<Obstacle> = None;
    let nothing = |met: Option<Obstacle>| {
        let busy = || AT_ONCE.are_taken().then_some(Obstacle::Busy);
        met.or_else(busy).map_or(Miss::Gone, Miss::Obstacle)
    };
    loop {
        // Asked before the row is read: the writes of a process are visible once it has ended.
        let is_ours_running = started.as_ref().is_some_and(|(ours, _)| !ours.has_ended());
        let row = start::look(&first.issuer).ok_or(Miss::Gone)?.row;
        let now = sql::now();
        let is_new = (row.last_attempt, row.outcome) != (first.row.last_attempt, first.row.outcome);
        let is_recent = row
            .last_attempt
            .is_some_and(|began| since <= began && began <= now);
        if row.outcome.is_some() && (is_new || is_recent) {
            return Ok(row);
        }
        let is_over = start.elapsed() >= PATIENCE;
        // A fetch that is running is not overtaken, but waited for.
        if row.is_running(now) {
            if is_over {
                return Err(Miss::Running);
            }
        } else if !is_ours_running {
            let is_early = started.as_ref().is_some_and(|(_, at)| at.elapsed() < PAUSE);
            if starts >= MAX_STARTS || (is_over && started.is_some()) {
                return Err(nothing(met));
            }
            if !is_early {
                match start::asked(first) {
                    Err(obstacle) => {
                        let is_full = obstacle == Obstacle::NoneFree && start.elapsed() >= MAX_FULL;
                        if is_over || is_full {
                            return Err(Miss::Obstacle(obstacle));
                        }
                        met = Some(obstacle);
                    }
                    Ok(ours) => {
                        starts = starts.saturating_add(1);
                        started = Some((ours, Instant::now()));
                    }
                }
            }
        } else if is_over {
            return Err(nothing(met));
        }
        worker::wait(LOOK);
    }
}
