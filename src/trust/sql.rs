//! Values and statements of the key tables between SQL and Rust.

use std::time::Duration;

use jwt_verify::UnixTime;
use pgrx::datum::{DatumWithOid, FromDatum, Interval};
use pgrx::pg_sys;
use pgrx::spi::{SpiClient, SpiTupleTable};

use crate::errors;
use crate::pg::clock;
use crate::pg::encoding::{self, ServerText};
use crate::pg::report::Report;

/// The first row of a query's outcome.
pub struct First<'t>(SpiTupleTable<'t>);

impl<'t> First<'t> {
    /// `None` if there is no row.
    pub fn of(table: SpiTupleTable<'t>) -> Option<Self> {
        (!table.is_empty()).then(|| Self(table.first()))
    }

    fn get<T: FromDatum + pgrx::IntoDatum>(&self, column: usize) -> Result<Option<T>, Report> {
        self.0.get(column).map_err(errors::tables_unreadable)
    }

    /// A `timestamptz`.
    pub fn time(&self, column: usize) -> Result<Option<UnixTime>, Report> {
        let datum = self
            .0
            .get_datum_by_ordinal(column)
            .map_err(errors::tables_unreadable)?;
        // The datum is the number of microseconds.
        Ok(datum.map(|datum| clock::from_postgres(datum.value() as i64)))
    }

    /// The length of an `interval`; saturates.
    pub fn interval(&self, column: usize) -> Result<Option<Duration>, Report> {
        let interval: Option<Interval> = self.get(column)?;
        Ok(interval.as_ref().map(length))
    }

    /// A `boolean`; NULL is false.
    pub fn truth(&self, column: usize) -> Result<bool, Report> {
        Ok(self.get(column)?.unwrap_or_default())
    }

    /// An `integer`.
    pub fn integer(&self, column: usize) -> Result<Option<i32>, Report> {
        self.get(column)
    }

    /// A `text`.
    pub fn text(&self, column: usize) -> Result<Option<String>, Report> {
        Ok(self.get::<ServerText>(column)?.map(|ServerText(text)| text))
    }

    /// Any value.
    pub fn datum(&self, column: usize) -> Result<Option<pg_sys::Datum>, Report> {
        self.0
            .get_datum_by_ordinal(column)
            .map_err(errors::tables_unreadable)
    }
}

/// Runs a statement that returns no rows.
pub fn run(client: &mut SpiClient, sql: &str, arguments: &[DatumWithOid]) -> Result<(), Report> {
    client
        .update(sql, None, arguments)
        .map(drop)
        .map_err(errors::tables_unreadable)
}

/// Length of an interval, with days of 24 hours and months of 30 days, as in Postgres's comparison of
/// intervals (`interval_cmp_value`); saturates.
pub fn length(interval: &Interval) -> Duration {
    const DAY: i128 = 86_400_000_000;
    let months = i128::from(interval.months()).saturating_mul(30);
    let days = months.saturating_add(interval.days().into());
    let total = days
        .saturating_mul(DAY)
        .saturating_add(interval.micros().into());
    Duration::from_micros(u64::try_from(total.max(0)).unwrap_or(u64::MAX))
}

/// A `text` as an argument of a query.
pub fn argument(utf8: &str) -> Result<DatumWithOid<'static>, Report> {
    encoding::argument(utf8).ok_or_else(errors::not_storable)
}

/// A `timestamptz`, or NULL, as an argument of a query.
pub fn time_argument(time: Option<UnixTime>) -> DatumWithOid<'static> {
    match time {
        // SAFETY: the datum of a timestamptz is that of a bigint.
        Some(time) => unsafe {
            DatumWithOid::new(clock::to_postgres(time), pg_sys::TIMESTAMPTZOID)
        },
        None => DatumWithOid::null_oid(pg_sys::TIMESTAMPTZOID),
    }
}

/// A `text`, or NULL, as an argument of a query.
pub fn text_argument(text: Option<&str>) -> Result<DatumWithOid<'static>, Report> {
    text.map_or_else(|| Ok(DatumWithOid::null_oid(pg_sys::TEXTOID)), argument)
}

/// As [`text_argument`], for texts that people read: characters that the database's encoding lacks
/// become `?`.
pub fn lossy_argument(text: Option<&str>) -> Result<DatumWithOid<'static>, Report> {
    match text.map(encoding::to_server_lossy) {
        // SAFETY: the datum of a bytea is that of a text of the same bytes.
        Some(text) => Ok(unsafe { DatumWithOid::new(text.as_bytes(), pg_sys::TEXTOID) }),
        None => text_argument(None),
    }
}

/// Whether this server replays what another one has written, and can write nothing itself.
pub fn is_standby() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The present time.
pub fn now() -> UnixTime {
    // SAFETY: reads the system's clock and nothing else.
    clock::from_postgres(unsafe { pg_sys::GetCurrentTimestamp() })
}
