//! `auth.refresh`: fetches keys now, and waits.

use std::time::{Duration, Instant};

use jwt_verify::UnixTime;

use pgrx::prelude::*;

use crate::errors;
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::worker;
use crate::settings;
use crate::trust::endpoint::rows;
use crate::trust::endpoint::start::{self, Started};
use crate::trust::endpoint::state::{Progress, Seen};
use crate::trust::inventory;
use crate::trust::lookup;
use crate::trust::tables::Tables;

sql_function!(
    /// `auth.refresh(issuer text) RETURNS TABLE (issuer text, outcome text, detail text)`.
    pg_auth_jwt_refresh,
    |arguments| refresh(&arguments)
);

/// How long it waits for each issuer: longer than a fetch takes.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long it waits for a free process, and how often it looks for one.
const MAX_BUSY: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(50);

/// How an issuer fared.
struct Line {
    issuer: String,
    outcome: String,
    detail: Option<String>,
}

fn refresh(arguments: &Arguments) -> SqlResult {
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(errors::on_standby("auth.refresh()"));
    }
    let wanted = arguments.text(0)?;
    let tables = Tables::open().ok_or_else(errors::no_tables)?;
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
    let since = rows::now();
    let lines: Vec<Line> = followed
        .into_iter()
        .map(|seen| refresh_one(seen, since))
        .collect();
    let text = |text: &str| encoding::to_server_lossy(text).as_bytes().into_datum();
    arguments.return_rows(lines.iter().map(|line| {
        [
            text(&line.issuer),
            text(&line.outcome),
            line.detail.as_deref().and_then(text),
        ]
    }))?;
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
    // A fetch that is running is not overtaken, but waited for.
    let now = rows::now();
    let is_recent = |began: UnixTime| since <= began && began <= now;
    let is_done = seen.row.outcome.is_some() && seen.row.last_attempt.is_some_and(is_recent);
    let ended = if is_done {
        Some(seen.row.clone())
    } else if seen.row.is_running(now) {
        start::wait_for_running(&seen.issuer, PATIENCE)
    } else {
        match start_patiently(&seen) {
            Some(started) => started.wait(PATIENCE),
            None => {
                let detail = "All of max_worker_processes are taken.";
                return line("not_started", Some(detail.to_owned()));
            }
        }
    };
    match ended {
        Some(Progress {
            outcome: Some(outcome),
            last_error,
            note,
            ..
        }) => {
            let detail = if outcome == "failed" { last_error } else { note };
            line(&outcome, detail)
        }
        _ => line(
            "gone",
            Some(
                "The fetch has left no outcome: the issuer is not followed any more, or this \
                 transaction, in which it was followed, is not committed; or the tables are locked. \
                 The server's log may tell more."
                    .to_owned(),
            ),
        ),
    }
}

/// Waits a moment for a free process, where there is none.
fn start_patiently(seen: &Seen) -> Option<Started> {
    let start = Instant::now();
    loop {
        match start::asked(seen) {
            None if start.elapsed() < MAX_BUSY => worker::wait(BUSY),
            started => return started,
        }
    }
}
