//! A table's row, read by column name.

use std::ffi::CStr;

use pgrx::datum::{Array, FromDatum, Interval};
use pgrx::{PgTupleDesc, pg_sys};

use crate::pg::encoding;
use crate::pg::uuid;

/// The columns of a relation, in the order of its attributes; a dropped column has no type.
pub struct Columns(Vec<Column>);

struct Column {
    name: String,
    type_id: pg_sys::Oid,
    is_generated: bool,
    is_inherited: bool,
}

impl Columns {
    /// # Safety
    ///
    /// `relation` must be open.
    pub unsafe fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: as the caller promises; the descriptor lives as long as the relation is open.
        // (The catalog's cache would first have to be filled, column by column.)
        let descriptor = unsafe { PgTupleDesc::from_pg_unchecked((*relation).rd_att) };
        let column = |attribute: &pg_sys::FormData_pg_attribute| {
            // SAFETY: a name is NUL-terminated. It is in the server's encoding, so it may not be
            // UTF-8.
            let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
            Column {
                name: encoding::from_server_lossy(name.to_bytes()),
                type_id: attribute.atttypid,
                is_generated: attribute.attgenerated != 0,
                is_inherited: attribute.attinhcount > 0,
            }
        };
        Self(descriptor.iter().map(column).collect())
    }

    /// The attribute's number, from 1.
    pub fn number(&self, column: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|known| known.name == column)
            .map(|index| index.saturating_add(1))
    }

    /// Whether there is a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.number(column).is_some()
    }

    /// The column's type, if it is there.
    pub fn type_of(&self, column: &str) -> Option<pg_sys::Oid> {
        self.named(column).map(|known| known.type_id)
    }

    /// Whether Postgres computes the column (`GENERATED ALWAYS AS`). A virtual one is in no row.
    pub fn is_generated(&self, column: &str) -> bool {
        self.named(column).is_some_and(|known| known.is_generated)
    }

    /// Whether one of them is inherited from another table.
    pub fn are_inherited(&self) -> bool {
        self.0.iter().any(|column| column.is_inherited)
    }

    fn named(&self, column: &str) -> Option<&Column> {
        self.0.iter().find(|known| known.name == column)
    }

    /// Whether all of these exist, with these types.
    pub fn have(&self, columns: &[(&str, pg_sys::Oid)]) -> bool {
        columns
            .iter()
            .all(|(name, type_id)| self.index(name, *type_id).is_some())
    }

    fn index(&self, column: &str, type_id: pg_sys::Oid) -> Option<usize> {
        self.0
            .iter()
            .position(|known| known.name == column && known.type_id == type_id)
    }
}

/// One row. A missing column reads as NULL, and so does a column of another type than the requested
/// one: a superuser may have altered the tables.
pub struct Row<'a> {
    columns: &'a Columns,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl<'a> Row<'a> {
    /// # Safety
    ///
    /// `tuple` must belong to the relation that `columns` and `descriptor` describe, and outlive
    /// the row.
    pub unsafe fn new(
        columns: &'a Columns,
        descriptor: pg_sys::TupleDesc,
        tuple: pg_sys::HeapTuple,
    ) -> Self {
        let mut values = vec![pg_sys::Datum::from(0); columns.0.len()];
        let mut nulls = vec![true; columns.0.len()];
        // SAFETY: it fills one value for each attribute of the descriptor; the vectors have that
        // length.
        unsafe {
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        }
        Self {
            columns,
            values,
            nulls,
        }
    }

    /// The column's type and value; `None` if it is NULL or missing.
    fn any(&self, column: &str) -> Option<(pg_sys::Oid, pg_sys::Datum)> {
        let type_id = self.columns.type_of(column)?;
        Some((type_id, self.datum(column, type_id)?))
    }

    fn datum(&self, column: &str, type_id: pg_sys::Oid) -> Option<pg_sys::Datum> {
        let index = self.columns.index(column, type_id)?;
        if *self.nulls.get(index)? {
            None
        } else {
            self.values.get(index).copied()
        }
    }

    /// # Safety
    ///
    /// `T` must be able to read the type.
    unsafe fn get<T: FromDatum>(&self, column: &str, type_id: pg_sys::Oid) -> Option<T> {
        // SAFETY: as the caller promises; the datum is of this type.
        unsafe { T::from_datum(self.datum(column, type_id)?, false) }
    }

    /// A `boolean`.
    pub fn boolean(&self, column: &str) -> Option<bool> {
        // SAFETY: it reads that type.
        unsafe { self.get(column, pg_sys::BOOLOID) }
    }

    /// Whether there is a column of this name, of any type.
    pub fn has_column(&self, column: &str) -> bool {
        self.columns.has(column)
    }

    /// Whether there is a column of this name and type.
    pub fn has(&self, column: &str, type_id: pg_sys::Oid) -> bool {
        self.columns.index(column, type_id).is_some()
    }

    /// An `integer`.
    pub fn integer(&self, column: &str) -> Option<i32> {
        // SAFETY: it reads that type.
        unsafe { self.get(column, pg_sys::INT4OID) }
    }

    /// An `interval`.
    pub fn interval(&self, column: &str) -> Option<Interval> {
        // SAFETY: it reads that type.
        unsafe { self.get(column, pg_sys::INTERVALOID) }
    }

    /// A `timestamptz`.
    pub fn timestamp(&self, column: &str) -> Option<pg_sys::TimestampTz> {
        // SAFETY: that is what the type is.
        unsafe { self.get::<i64>(column, pg_sys::TIMESTAMPTZOID) }
    }

    /// A `text`.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8 and cannot be converted.
    pub fn text(&self, column: &str) -> Result<Option<String>, NotUtf8> {
        // SAFETY: a text is read as its bytes.
        let bytes = unsafe { self.get::<Vec<u8>>(column, pg_sys::TEXTOID) };
        bytes.map(utf8).transpose()
    }

    /// A `text`, `varchar`, `uuid`, `smallint`, `integer` or `bigint`, as Postgres writes it (see
    /// [`NAME_TYPES`]). A text of more bytes than `limit` is not read, so that a value of a
    /// gigabyte costs nothing.
    ///
    /// # Errors
    ///
    /// If it is longer, or cannot become UTF-8.
    pub fn name(&self, column: &str, limit: usize) -> Result<Option<String>, Unreadable> {
        let Some((type_id, datum)) = self.any(column) else {
            return Ok(None);
        };
        // SAFETY: the datum is of that type; a uuid is a pointer to its bytes.
        unsafe {
            Ok(match type_id {
                pg_sys::TEXTOID | pg_sys::VARCHAROID => {
                    if text_bytes(datum) > limit {
                        return Err(Unreadable::TooLong);
                    }
                    Vec::from_datum(datum, false).map(utf8).transpose()?
                }
                pg_sys::UUIDOID => Some(uuid::format(*datum.cast_mut_ptr::<[u8; 16]>())),
                pg_sys::INT2OID => i16::from_datum(datum, false).map(|value| value.to_string()),
                pg_sys::INT4OID => i32::from_datum(datum, false).map(|value| value.to_string()),
                pg_sys::INT8OID => i64::from_datum(datum, false).map(|value| value.to_string()),
                _ => None,
            })
        }
    }

    /// A JSON text in a `text`, `varchar`, `json` or `jsonb` (see [`JSON_TYPES`]). One of more bytes than
    /// `limit` is not read.
    ///
    /// # Errors
    ///
    /// If it is longer, or cannot become UTF-8.
    pub fn json_text(&self, column: &str, limit: usize) -> Result<Option<String>, Unreadable> {
        let Some((type_id, datum)) = self.any(column) else {
            return Ok(None);
        };
        // SAFETY: each of these types is a varlena; the datum is of that type.
        unsafe {
            if !JSON_TYPES.contains(&type_id) {
                return Ok(None);
            }
            let is_jsonb = type_id == pg_sys::JSONBOID;
            if text_bytes(datum) > limit || is_jsonb && numbers_are_longer(datum, limit) {
                return Err(Unreadable::TooLong);
            }
            let text = if is_jsonb {
                json_text(datum)
            } else {
                Vec::from_datum(datum, false).map_or_else(|| Ok(String::new()), utf8)
            };
            Ok(text.map(Some)?)
        }
    }

    /// A `timestamptz`, or a `timestamp` taken as UTC (see [`INSTANT_TYPES`]).
    pub fn instant(&self, column: &str) -> Option<pg_sys::TimestampTz> {
        let (type_id, datum) = self.any(column)?;
        if !INSTANT_TYPES.contains(&type_id) {
            return None;
        }
        // SAFETY: both types are microseconds in 64 bits.
        unsafe { i64::from_datum(datum, false) }
    }

    /// The elements of a `text[]` that are not NULL.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub fn strings(&self, column: &str) -> Result<Option<Vec<String>>, NotUtf8> {
        let array = self.datum(column, pg_sys::TEXTARRAYOID);
        // SAFETY: the datum is of this type.
        array.map(|datum| unsafe { strings(datum) }).transpose()
    }

    /// A `jsonb`, as text.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub fn json(&self, column: &str) -> Result<Option<String>, NotUtf8> {
        let datum = self.datum(column, pg_sys::JSONBOID);
        // SAFETY: the datum is of this type.
        datum.map(|datum| unsafe { json_text(datum) }).transpose()
    }
}

/// The types that [`Row::name`] reads.
pub const NAME_TYPES: [pg_sys::Oid; 6] = [
    pg_sys::TEXTOID,
    pg_sys::VARCHAROID,
    pg_sys::UUIDOID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
];

/// The types that [`Row::json_text`] reads.
pub const JSON_TYPES: [pg_sys::Oid; 4] = [
    pg_sys::TEXTOID,
    pg_sys::VARCHAROID,
    pg_sys::JSONOID,
    pg_sys::JSONBOID,
];

/// The types that [`Row::instant`] reads.
pub const INSTANT_TYPES: [pg_sys::Oid; 2] = [pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPOID];

/// Reason why [`Row::name`] or [`Row::json_text`] read nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It has more bytes than are allowed.
    TooLong,
    /// It cannot become UTF-8.
    NotUtf8,
}

impl From<NotUtf8> for Unreadable {
    fn from(NotUtf8: NotUtf8) -> Self {
        Self::NotUtf8
    }
}

/// Length of a varlena's data, without reading the data.
///
/// # Safety
///
/// `datum` must be that of a varlena.
unsafe fn text_bytes(datum: pg_sys::Datum) -> usize {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::toast_raw_datum_size(datum) }.saturating_sub(pg_sys::VARHDRSZ)
}

/// Whether the numbers alone take more bytes than `limit` as text: `1e131000` is stored in a few bytes.
///
/// # Safety
///
/// `datum` must be that of a `jsonb`.
unsafe fn numbers_are_longer(datum: pg_sys::Datum, limit: usize) -> bool {
    // SAFETY: as the caller promises. The iterator goes through the detoasted copy, and says of each value
    // what it is; a value of type jbvNumeric is a numeric.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let mut iterator = pg_sys::JsonbIteratorInit(&raw mut (*jsonb).root);
        let mut value = std::mem::zeroed::<pg_sys::JsonbValue>();
        let mut bytes: usize = 0;
        loop {
            use pg_sys::JsonbIteratorToken::{WJB_DONE, WJB_ELEM, WJB_VALUE};
            match pg_sys::JsonbIteratorNext(&raw mut iterator, &raw mut value, false) {
                WJB_DONE => return false,
                WJB_ELEM | WJB_VALUE if value.type_ == pg_sys::jbvType::jbvNumeric => {
                    let number = pg_sys::Datum::from(value.val.numeric);
                    let text =
                        pgrx::direct_function_call::<&CStr>(pg_sys::numeric_out, &[Some(number)]);
                    bytes = bytes.saturating_add(text.map_or(0, |text| text.to_bytes().len()));
                    if bytes > limit {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A text of the server that cannot be converted to UTF-8.
#[derive(Debug)]
pub struct NotUtf8;

/// Text of the server, as UTF-8.
///
/// # Errors
///
/// If it is not UTF-8 and cannot be converted.
pub fn utf8(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    encoding::from_server(bytes).ok_or(NotUtf8)
}

/// The elements of a `text[]` that are not NULL.
///
/// # Errors
///
/// If one is not UTF-8 and cannot be converted.
///
/// # Safety
///
/// `datum` must be that of a `text[]`.
pub unsafe fn strings(datum: pg_sys::Datum) -> Result<Vec<String>, NotUtf8> {
    // SAFETY: as the caller promises; a text is read as its bytes.
    let elements = unsafe { Array::<&[u8]>::from_datum(datum, false) };
    elements
        .iter()
        .flat_map(Array::iter)
        .flatten()
        .map(|text| utf8(text.to_vec()))
        .collect()
}

/// A `jsonb` as text.
///
/// # Errors
///
/// If it is not UTF-8 and cannot be converted.
///
/// # Safety
///
/// `datum` must be that of a `jsonb`.
pub unsafe fn json_text(datum: pg_sys::Datum) -> Result<String, NotUtf8> {
    // SAFETY: as the caller promises; jsonb_out returns a NUL-terminated palloc'd string.
    let json = unsafe {
        pgrx::direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)])
            .map(|json| json.to_bytes().to_vec())
    };
    utf8(json.unwrap_or_default())
}
