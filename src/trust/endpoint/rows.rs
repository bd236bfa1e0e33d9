//! Values of our tables between SQL and Rust, for the statements of the refreshing process.

use jwt_verify::UnixTime;
use pgrx::datum::{DatumWithOid, FromDatum};
use pgrx::pg_sys;
use pgrx::spi::SpiTupleTable;

use crate::errors;
use crate::pg::clock;
use crate::pg::encoding::ServerText;
use crate::pg::report::Report;
use crate::trust::admission::argument;

/// The first row of a query's outcome.
pub struct First<'t>(SpiTupleTable<'t>);

impl<'t> First<'t> {
    /// `None` where there is no row.
    pub fn of(table: SpiTupleTable<'t>) -> Option<Self> {
        (!table.is_empty()).then(|| Self(table.first()))
    }

    fn get<T: FromDatum + pgrx::IntoDatum>(&self, column: usize) -> Result<Option<T>, Report> {
        self.0.get(column).map_err(errors::spi)
    }

    /// A `timestamptz`.
    pub fn time(&self, column: usize) -> Result<Option<UnixTime>, Report> {
        let datum = self.0.get_datum_by_ordinal(column).map_err(errors::spi)?;
        // The datum is the number of microseconds.
        Ok(datum.map(|datum| clock::from_postgres(datum.value() as i64)))
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
        self.0.get_datum_by_ordinal(column).map_err(errors::spi)
    }
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

/// The present time.
pub fn now() -> UnixTime {
    // SAFETY: reads the system's clock and nothing else.
    clock::from_postgres(unsafe { pg_sys::GetCurrentTimestamp() })
}
