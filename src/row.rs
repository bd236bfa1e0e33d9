//! A table's row, read by column name.

use std::ffi::CStr;

use pgrx::datum::{Array, FromDatum};
use pgrx::pg_sys;

use crate::text;

/// The columns' names of a relation, in the order of its attributes; empty for a dropped one.
pub struct Columns(Vec<String>);

impl Columns {
    /// # Safety
    ///
    /// `relation` must be open.
    pub unsafe fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: as the caller promises; get_attname gives NULL or a NUL-terminated name.
        unsafe {
            let count = (*(*relation).rd_att).natts;
            let name = |number: i32| {
                let name = pg_sys::get_attname((*relation).rd_id, number as i16, true);
                if name.is_null() {
                    String::new()
                } else {
                    CStr::from_ptr(name).to_string_lossy().into_owned()
                }
            };
            Self((1..=count).map(name).collect())
        }
    }

    /// The attribute's number, from 1.
    pub fn number(&self, column: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|name| name == column)
            .map(|index| index + 1)
    }
}

/// One row. An older version's table may lack a column, which then reads as NULL.
pub struct Row<'a> {
    columns: &'a Columns,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl<'a> Row<'a> {
    /// # Safety
    ///
    /// `tuple` must be one of the relation that `columns` and `descriptor` are of, and outlive the
    /// row.
    pub unsafe fn new(
        columns: &'a Columns,
        descriptor: pg_sys::TupleDesc,
        tuple: pg_sys::HeapTuple,
    ) -> Self {
        let mut values = vec![pg_sys::Datum::from(0); columns.0.len()];
        let mut nulls = vec![true; columns.0.len()];
        // SAFETY: it fills one value for each attribute of the descriptor, which are as many.
        unsafe {
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        }
        Self {
            columns,
            values,
            nulls,
        }
    }

    fn datum(&self, column: &str) -> Option<pg_sys::Datum> {
        let index = self.columns.number(column)? - 1;
        if *self.nulls.get(index)? {
            None
        } else {
            self.values.get(index).copied()
        }
    }

    /// The column's value.
    ///
    /// # Safety
    ///
    /// The column's type must be one that `T` reads.
    pub unsafe fn get<T: FromDatum>(&self, column: &str) -> Option<T> {
        // SAFETY: as the caller promises.
        unsafe { T::from_datum(self.datum(column)?, false) }
    }

    /// A `text`.
    ///
    /// # Safety
    ///
    /// The column must be a `text`.
    pub unsafe fn text(&self, column: &str) -> Option<String> {
        // SAFETY: as the caller promises; a text is read as its bytes.
        unsafe { self.get::<Vec<u8>>(column).map(text::from_server) }
    }

    /// The elements of a `text[]` that are not NULL.
    ///
    /// # Safety
    ///
    /// The column must be a `text[]`.
    pub unsafe fn strings(&self, column: &str) -> Option<Vec<String>> {
        // SAFETY: as the caller promises; a text is read as its bytes.
        let elements = unsafe { self.get::<Array<&[u8]>>(column) }?;
        Some(
            elements
                .iter()
                .flatten()
                .map(|text| text::from_server(text.to_vec()))
                .collect(),
        )
    }

    /// A `jsonb` as text.
    ///
    /// # Safety
    ///
    /// The column must be a `jsonb`.
    pub unsafe fn json(&self, column: &str) -> Option<String> {
        // SAFETY: as the caller promises.
        Some(unsafe { json_text(self.datum(column)?) })
    }
}

/// A `jsonb` as text.
///
/// # Safety
///
/// `datum` must be that of a `jsonb`.
pub unsafe fn json_text(datum: pg_sys::Datum) -> String {
    // SAFETY: as the caller promises; jsonb_out gives a NUL-terminated palloc'd string.
    unsafe {
        pgrx::direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)])
            .map(|json| text::from_server(json.to_bytes().to_vec()))
            .unwrap_or_default()
    }
}
