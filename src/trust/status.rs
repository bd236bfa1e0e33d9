//! The state of each issuer's keys, for the view `auth.key_status`.

use pgrx::prelude::*;

use crate::errors;
use crate::pg::clock;
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::trust::lookup::{self, Inventory, MAX_LISTED, State};
use crate::trust::tables::Tables;

sql_function!(
    /// `auth.list_keys()`: the rows of the view `auth.key_status`.
    pg_auth_jwt_list_keys,
    |arguments| list_keys(&arguments)
);

/// A row of the view.
#[derive(Clone, Default)]
struct Line {
    issuer: String,
    source: String,
    kid: Option<String>,
    alg: Option<String>,
    since: Option<pg_sys::TimestampTz>,
    valid_until: Option<pg_sys::TimestampTz>,
    state: &'static str,
    last_error: Option<String>,
}

fn list_keys(arguments: &Arguments) -> SqlResult {
    let tables = Tables::open().ok_or_else(errors::no_tables)?;
    let are_announced = tables.trigger_faults().is_empty();
    let mut lines = Vec::new();
    for name in lookup::issuer_names(&tables) {
        if let Some(inventory) = lookup::inventory(&tables, &name) {
            add_lines(&mut lines, name, &inventory, are_announced);
        }
    }
    drop(tables);
    arguments.return_rows(lines.into_iter().map(Line::into_datums))?;
    Ok(None)
}

/// A line for each key; for an issuer without keys, a line without a key.
fn add_lines(lines: &mut Vec<Line>, issuer: String, inventory: &Inventory, are_announced: bool) {
    let of_issuer = match &inventory.sight {
        Some(sight) => Line {
            issuer,
            source: sight.source_name(),
            state: sight.state.name(),
            last_error: sight.remark(),
            ..Line::default()
        },
        None => Line {
            issuer,
            source: "auth.jwks".to_owned(),
            state: if are_announced {
                State::Live
            } else {
                State::Polled
            }
            .name(),
            ..Line::default()
        },
    };
    for key in &inventory.keys {
        let mut line = Line {
            kid: key.kid.clone(),
            since: key.created_at.map(clock::to_postgres),
            valid_until: key.valid_until.map(clock::to_postgres),
            ..of_issuer.clone()
        };
        match &key.takes {
            Ok(algorithms) => line.alg = Some(algorithms.to_string()),
            Err(reason) => line.last_error = Some(errors::sentence(reason)),
        }
        lines.push(line);
    }
    if !inventory.is_complete {
        lines.push(Line {
            last_error: Some(format!(
                "There are more than {MAX_LISTED} rows, and the others are not listed."
            )),
            ..of_issuer.clone()
        });
    }
    if inventory.keys.is_empty() {
        lines.push(of_issuer);
    }
}

impl Line {
    /// In the order of the view's columns. The last five but one are for endpoints; tables do not
    /// have them.
    fn into_datums(self) -> [Option<pg_sys::Datum>; 12] {
        // The datum of a bytea is that of a text of the same bytes.
        let text = |text: String| encoding::to_server_lossy(&text).into_bytes().into_datum();
        [
            text(self.issuer),
            text(self.source),
            self.kid.and_then(text),
            self.alg.and_then(text),
            self.since.into_datum(),
            self.valid_until.into_datum(),
            text(self.state.to_owned()),
            None,
            None,
            None,
            self.last_error.and_then(text),
            None,
        ]
    }
}
