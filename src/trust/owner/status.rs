//! State of each issuer's keys, for the view `auth.key_status`, and of the triggers of the key
//! tables.

use jwt_verify::UnixTime;
use pgrx::prelude::*;

use crate::errors::sentence;
use crate::pg::clock::{self, StatementId};
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::trust::lookup::inventory::{self, Inventory};
use crate::trust::lookup::{MAX_LISTED, SightState};
use crate::trust::problem::{Finding, Problem};
use crate::trust::schema::in_schema;
use crate::trust::store::errors::no_tables;
use crate::trust::tables::{self, Tables};

sql_function!(
    /// `auth.list_keys()`: the rows of the view `auth.key_status`.
    pg_auth_jwt_list_keys,
    |arguments| list_keys(&arguments)
);

sql_function!(
    /// `auth.list_triggers()`: the triggers that the key tables need.
    pg_auth_jwt_list_triggers,
    |arguments| {
        let text = |text: &str| encoding::to_server_lossy(text).as_bytes().into_datum();
        let found = tables::triggers();
        arguments.return_rows(found.iter().map(|trigger| {
            [
                text(trigger.table.qualified_name()),
                text(&trigger.name),
                trigger.oid.into_datum(),
                text(trigger.needs.name()),
                text(trigger.state.name()),
                trigger.detail().as_deref().and_then(text),
                trigger.repair().as_deref().and_then(text),
            ]
        }))?;
        Ok(None)
    }
);

/// A row of the view.
#[derive(Clone, Default)]
struct StatusRow {
    issuer: String,
    source: String,
    kid: Option<String>,
    alg: Option<String>,
    created_at: Option<pg_sys::TimestampTz>,
    valid_until: Option<pg_sys::TimestampTz>,
    state: &'static str,
    finding: Option<Finding>,
    last_success: Option<pg_sys::TimestampTz>,
    last_attempt: Option<pg_sys::TimestampTz>,
    failures: Option<i32>,
    next_attempt: Option<pg_sys::TimestampTz>,
}

fn list_keys(arguments: &Arguments) -> SqlResult {
    let tables = Tables::open().ok_or_else(no_tables)?;
    let are_announced = tables.trigger_faults().is_empty();
    let mut rows = Vec::new();
    for name in inventory::issuer_names(&tables) {
        if let Some(inventory) = inventory::inventory(&tables, &name) {
            add_rows(&mut rows, name, &inventory, are_announced);
        }
    }
    drop(tables);
    arguments.return_rows(rows.into_iter().map(StatusRow::into_datums))?;
    Ok(None)
}

/// A row for each key; for an issuer without keys, a row without a key.
fn add_rows(rows: &mut Vec<StatusRow>, issuer: String, inventory: &Inventory, are_announced: bool) {
    let now = StatementId::current().time();
    let instant = |time: Option<UnixTime>| time.map(clock::to_postgres);
    let end = inventory.endpoint.as_ref().map(|seen| {
        // Keys that were never fetched do not count at any time.
        seen.valid_until(now).unwrap_or(UnixTime::MIN)
    });
    let of_issuer = match (&inventory.endpoint, &inventory.sight) {
        (Some(seen), _) => StatusRow {
            issuer,
            source: seen.endpoint.url.clone(),
            state: seen.state(now).name(),
            last_success: instant(seen.row.last_success),
            last_attempt: instant(seen.row.last_attempt),
            failures: Some(seen.row.failures),
            finding: seen.finding(now),
            next_attempt: instant(seen.row.next_attempt),
            ..StatusRow::default()
        },
        (None, Some(sight)) => StatusRow {
            issuer,
            source: sight.source_name(),
            state: sight.state.name(),
            finding: sight.finding(),
            ..StatusRow::default()
        },
        (None, None) => StatusRow {
            issuer,
            source: in_schema!("@extschema@.jwks").to_owned(),
            state: if are_announced {
                SightState::Live
            } else {
                SightState::Polled
            }
            .name(),
            finding: (!are_announced).then(|| Finding {
                problem: Problem::TriggersAltered,
                detail:
                    "A trigger that announces changes of the key tables does not fire, so they are \
                         looked at in every statement."
                        .to_owned(),
                fix: Some(
                    in_schema!(
                        "SELECT fix FROM @extschema@.list_triggers() WHERE fix IS NOT NULL;"
                    )
                    .to_owned(),
                ),
            }),
            ..StatusRow::default()
        },
    };
    for key in &inventory.keys {
        let mut row = StatusRow {
            kid: key.kid.clone(),
            created_at: key.created_at.map(clock::to_postgres),
            valid_until: instant(limited(key.valid_until, end)),
            ..of_issuer.clone()
        };
        match &key.takes {
            Ok(algorithms) => row.alg = Some(algorithms.to_string()),
            Err(unusable) => {
                row.finding = Some(Finding {
                    problem: unusable.problem,
                    detail: sentence(&unusable.reason),
                    fix: None,
                });
            }
        }
        rows.push(row);
    }
    if !inventory.is_complete {
        rows.push(StatusRow {
            finding: Some(Finding {
                problem: Problem::TooManyRows,
                detail: format!(
                    "There are more than {MAX_LISTED} rows, and the others are not listed."
                ),
                fix: None,
            }),
            ..of_issuer.clone()
        });
    }
    // The problem of a source is there also where each of its keys has one of its own.
    let is_told = of_issuer.finding.is_none() || inventory.keys.iter().any(|key| key.takes.is_ok());
    if inventory.keys.is_empty() || !is_told {
        rows.push(of_issuer);
    }
}

/// End of a key: not beyond the end of all keys of its issuer, if there is one.
fn limited(own: Option<UnixTime>, of_all: Option<UnixTime>) -> Option<UnixTime> {
    let of_all = of_all.filter(|end| *end != UnixTime::MAX);
    own.into_iter().chain(of_all).min()
}

impl StatusRow {
    /// In the order of the view's columns.
    fn into_datums(self) -> [Option<pg_sys::Datum>; 14] {
        // The datum of a bytea is that of a text of the same bytes.
        let text = |text: String| encoding::to_server_lossy(&text).into_bytes().into_datum();
        let (problem, detail, fix) = match self.finding {
            Some(finding) => (Some(finding.problem), Some(finding.detail), finding.fix),
            None => (None, None, None),
        };
        [
            text(self.issuer),
            text(self.source),
            self.kid.and_then(text),
            self.alg.and_then(text),
            self.created_at.into_datum(),
            self.valid_until.into_datum(),
            text(self.state.to_owned()),
            problem.and_then(|problem| text(problem.code().to_owned())),
            detail.and_then(text),
            fix.and_then(text),
            self.last_success.into_datum(),
            self.last_attempt.into_datum(),
            self.failures.into_datum(),
            self.next_attempt.into_datum(),
        ]
    }
}
