//! State of fetching the keys of one issuer: its row of `auth.endpoints`, as a backend reads it.

use jwks_rules::schedule::{self, CLAIM};
use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::clock;
use crate::pg::row::Row;

/// The columns that are needed: without one of them, or of another type, nothing was fetched.
pub const COLUMNS: [(&str, pg_sys::Oid); 5] = [
    ("issuer", pg_sys::TEXTOID),
    ("last_success", pg_sys::TIMESTAMPTZOID),
    ("last_attempt", pg_sys::TIMESTAMPTZOID),
    ("next_attempt", pg_sys::TIMESTAMPTZOID),
    ("outcome", pg_sys::TEXTOID),
];

/// Longest text that is read of the row, such as an error.
const MAX_TEXT_BYTES: usize = 4_096;

/// A row of `auth.endpoints`; empty if there is no row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub last_success: Option<UnixTime>,
    pub last_attempt: Option<UnixTime>,
    pub next_attempt: Option<UnixTime>,
    pub unknown_key_after: Option<UnixTime>,
    /// Date of the last answer, by the endpoint's clock.
    pub answer_date: Option<UnixTime>,
    pub outcome: Option<String>,
    pub failures: i32,
    /// The URL of the keys, as the discovery document names it.
    pub jwks_uri: Option<String>,
    pub last_error: Option<String>,
    pub note: Option<String>,
}

impl Progress {
    /// Reads a row of the table.
    pub fn read(row: &Row) -> Self {
        let time = |column| row.timestamp(column).map(clock::from_postgres);
        let text = |column| row.name(column, MAX_TEXT_BYTES).ok().flatten();
        Self {
            last_success: time("last_success"),
            last_attempt: time("last_attempt"),
            next_attempt: time("next_attempt"),
            unknown_key_after: time("unknown_key_after"),
            answer_date: time("answer_date"),
            outcome: text("outcome"),
            failures: row.integer("failures").unwrap_or(0),
            jwks_uri: text("jwks_uri"),
            last_error: text("last_error"),
            note: text("note"),
        }
    }

    /// Whether a fetch is running: one began, and neither ended nor took longer than any does.
    pub fn is_running(&self, now: UnixTime) -> bool {
        let began = self.last_attempt.filter(|_| self.outcome.is_none());
        began.is_some_and(|began| began <= now && now < began.saturating_add(CLAIM))
    }

    /// Whether the next fetch is due.
    pub fn is_due(&self, now: UnixTime) -> bool {
        schedule::is_due(self.next_attempt, now)
    }

    /// Whether a token with an unknown key id may cause a fetch.
    pub fn may_be_early(&self, now: UnixTime) -> bool {
        schedule::is_due(self.unknown_key_after, now)
    }
}
