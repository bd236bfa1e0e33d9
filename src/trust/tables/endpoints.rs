//! Rows of `auth.endpoints`: the one list of their columns, for reading and for writing.

use std::time::Duration;

use jwks_rules::fetch_state::{EndpointRow, FetchOutcome};
use jwt_verify::UnixTime;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use crate::errors::tables_unreadable;
use crate::pg::clock;
use crate::pg::report::Report;
use crate::pg::row::Row;
use crate::trust::schema::SCHEMA;
use crate::trust::sql::{First, argument, lossy_argument, time_argument};

/// Columns without which, or with another type of which, the table counts as empty for a backend.
pub const NEEDED: [(&str, pg_sys::Oid); 5] = [
    ("issuer", pg_sys::TEXTOID),
    ("last_success", pg_sys::TIMESTAMPTZOID),
    ("last_attempt", pg_sys::TIMESTAMPTZOID),
    ("next_attempt", pg_sys::TIMESTAMPTZOID),
    ("outcome", pg_sys::TEXTOID),
];

/// Longest text that a backend reads of the row, such as an error.
const MAX_TEXT_BYTES: usize = 4_096;

/// Access to a column's value in a row.
type Access<T> = fn(&mut EndpointRow) -> &mut T;

/// Type of a column, with the access to its value.
#[derive(Clone, Copy)]
enum Field {
    Url(Access<String>),
    Text(Access<Option<String>>),
    Time(Access<Option<UnixTime>>),
    Outcome(Access<Option<FetchOutcome>>),
    Count(Access<i32>),
    Seconds(Access<Duration>),
}

/// All columns but the issuer. A new column gets a line here, and a field of [`EndpointRow`].
const COLUMNS: [(&str, Field); 15] = [
    ("url", Field::Url(|row| &mut row.url)),
    ("jwks_uri", Field::Text(|row| &mut row.jwks_uri)),
    ("etag", Field::Text(|row| &mut row.etag)),
    ("etag_digest", Field::Text(|row| &mut row.etag_digest)),
    ("answer_date", Field::Time(|row| &mut row.answer_date)),
    ("last_modified", Field::Time(|row| &mut row.last_modified)),
    ("last_success", Field::Time(|row| &mut row.last_success)),
    ("last_attempt", Field::Time(|row| &mut row.last_attempt)),
    ("outcome", Field::Outcome(|row| &mut row.outcome)),
    ("failures", Field::Count(|row| &mut row.failures)),
    ("last_error", Field::Text(|row| &mut row.last_error)),
    ("note", Field::Text(|row| &mut row.note)),
    ("next_attempt", Field::Time(|row| &mut row.next_attempt)),
    (
        "unknown_key_after",
        Field::Time(|row| &mut row.unknown_key_after),
    ),
    (
        "unknown_key_wait",
        Field::Seconds(|row| &mut row.unknown_key_wait),
    ),
];

/// Reads a row that a backend has found in the table. A column that is missing, or a text that is
/// too long, reads as NULL.
pub fn of_table(row: &Row) -> EndpointRow {
    let mut read = EndpointRow::default();
    for (name, field) in COLUMNS {
        let text = || row.name(name, MAX_TEXT_BYTES).ok().flatten();
        match field {
            Field::Url(access) => *access(&mut read) = text().unwrap_or_default(),
            Field::Text(access) => *access(&mut read) = text(),
            Field::Time(access) => {
                *access(&mut read) = row.timestamp(name).map(clock::from_postgres);
            }
            Field::Outcome(access) => {
                *access(&mut read) = text().as_deref().map(FetchOutcome::named);
            }
            Field::Count(access) => *access(&mut read) = row.integer(name).unwrap_or(0),
            Field::Seconds(access) => *access(&mut read) = seconds(row.integer(name)),
        }
    }
    read
}

/// Reads the issuer's row, and locks it until the transaction ends. Waits for a transaction that
/// has locked it, and sees what that has written.
pub fn lock(client: &mut SpiClient, issuer: &str) -> Result<Option<EndpointRow>, Report> {
    let names = COLUMNS.map(|(name, _)| format!("e.{name}")).join(", ");
    let query = format!(
        "SELECT {names} FROM {SCHEMA}.endpoints AS e \
         WHERE e.issuer OPERATOR(pg_catalog.=) $1 FOR UPDATE"
    );
    // FOR UPDATE needs a statement that may write.
    let found = client.update(query.as_str(), Some(1), &[argument(issuer)?]);
    let Some(found) = First::of(found.map_err(tables_unreadable)?) else {
        return Ok(None);
    };
    let mut row = EndpointRow::default();
    for (column, (_, field)) in (1..).zip(COLUMNS) {
        match field {
            Field::Url(access) => *access(&mut row) = found.text(column)?.unwrap_or_default(),
            Field::Text(access) => *access(&mut row) = found.text(column)?,
            Field::Time(access) => *access(&mut row) = found.time(column)?,
            Field::Outcome(access) => {
                let name = found.text(column)?;
                *access(&mut row) = name.as_deref().map(FetchOutcome::named);
            }
            Field::Count(access) => *access(&mut row) = found.integer(column)?.unwrap_or(0),
            Field::Seconds(access) => *access(&mut row) = seconds(found.integer(column)?),
        }
    }
    Ok(Some(row))
}

/// Writes a row, which must be locked. Returns false if a trigger of the owner's has suppressed
/// that.
pub fn write(client: &mut SpiClient, issuer: &str, mut row: EndpointRow) -> Result<bool, Report> {
    let mut arguments = vec![argument(issuer)?];
    let mut assignments = Vec::with_capacity(COLUMNS.len());
    for (number, (name, field)) in (2..).zip(COLUMNS) {
        assignments.push(format!("{name} = ${number}"));
        arguments.push(match field {
            Field::Url(access) => argument(access(&mut row))?,
            Field::Text(access) => lossy_argument(access(&mut row).as_deref())?,
            Field::Time(access) => time_argument(*access(&mut row)),
            Field::Outcome(access) => lossy_argument(access(&mut row).map(FetchOutcome::name))?,
            Field::Count(access) => (*access(&mut row)).into(),
            Field::Seconds(access) => i32::try_from(access(&mut row).as_secs())
                .unwrap_or(i32::MAX)
                .into(),
        });
    }
    let statement = format!(
        "UPDATE {SCHEMA}.endpoints AS e SET {} \
         WHERE e.issuer OPERATOR(pg_catalog.=) $1 RETURNING true",
        assignments.join(", ")
    );
    let written = client.update(statement.as_str(), None, &arguments);
    Ok(!written.map_err(tables_unreadable)?.is_empty())
}

fn seconds(column: Option<i32>) -> Duration {
    Duration::from_secs(
        column
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(0),
    )
}
