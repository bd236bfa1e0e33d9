//! Running SQL that others wrote, so that it leaves nothing behind and has no more rights than a
//! role that it is meant to have.

use std::ffi::{CStr, c_int, c_long};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::{IntoDatum, pg_sys};

use crate::pg::encoding;

/// Runs `body` in a subtransaction that is rolled back at its end: what it writes, and what it
/// sets, is undone.
///
/// `body` must return nothing that lies in Postgres's memory.
pub fn undone<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: as PL/pgSQL does it for a block with EXCEPTION (src/pl/plpgsql/src/pl_exec.c). A
    // panic, which an error of Postgres's has become, goes on once the subtransaction is gone.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(memory);
        let outcome = catch_unwind(AssertUnwindSafe(body));
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::CurrentResourceOwner = owner;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Runs `body` as that role, in a restricted operation as ANALYZE runs the functions of an index:
/// what it calls cannot go back to the caller's role, nor leave anything to run later. To be called
/// inside of [`undone`], which gives the role back where an error leaves.
pub fn as_role<T>(role: pg_sys::Oid, body: impl FnOnce() -> T) -> T {
    const RESTRICTIONS: u32 =
        pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let (mut user, mut restrictions): (pg_sys::Oid, c_int) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads and sets variables of the backend. The role exists: the caller has looked it
    // up.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut restrictions);
        pg_sys::SetUserIdAndSecContext(role, restrictions | RESTRICTIONS as c_int);
        let value = body();
        pg_sys::SetUserIdAndSecContext(user, restrictions);
        value
    }
}

/// Sets a setting until the end of the transaction, or of [`undone`].
pub fn set_local(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated, and copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Runs `body` with a search_path in which all unqualified names are those of pg_catalog.
pub fn with_safe_search_path<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: as for the SET clause of a function (fmgr_security_definer in
    // src/backend/utils/fmgr). An error takes the setting back with its transaction, or
    // subtransaction.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let value = body();
        pg_sys::AtEOXact_GUC(true, level);
        value
    }
}

/// A query that was prepared by SPI, to whose connection it belongs.
pub struct Prepared(pg_sys::SPIPlanPtr);

impl Prepared {
    /// Of a query with at most one parameter.
    pub fn new(query: &str, parameter: Option<pg_sys::Oid>) -> Self {
        let query = encoding::to_server_c_string(query);
        let mut types = parameter.unwrap_or(pg_sys::InvalidOid);
        // SAFETY: the query is NUL-terminated; there are as many types as parameters. It raises for
        // a query that is wrong, and gives NULL only outside of a connection.
        Self(unsafe {
            pg_sys::SPI_prepare(
                query.as_ptr(),
                c_int::from(parameter.is_some()),
                &raw mut types,
            )
        })
    }

    /// The first row that the query gives, one value for each column of type `bigint`; NULL counts
    /// as 0.
    pub fn numbers(&self, argument: Option<pg_sys::Datum>) -> Vec<u64> {
        self.first_row(argument, |value| {
            u64::try_from(value.value() as i64).unwrap_or(0)
        })
    }

    /// The first row that the query gives, one value for each column of type `text`; NULL counts as
    /// empty.
    pub fn texts(&self) -> Vec<String> {
        self.first_row(None, |value| {
            // SAFETY: a text, which is not NULL, is read as its bytes.
            let bytes: Option<Vec<u8>> = unsafe { pgrx::FromDatum::from_datum(value, false) };
            encoding::from_server_lossy(&bytes.unwrap_or_default())
        })
    }

    fn first_row<T: Default>(
        &self,
        argument: Option<pg_sys::Datum>,
        read: impl Fn(pg_sys::Datum) -> T,
    ) -> Vec<T> {
        // SAFETY: the plan is of the present connection, and has one parameter where there is an
        // argument. The table of rows is SPI's, until it is freed.
        unsafe {
            let mut argument = argument.unwrap_or(pg_sys::Datum::from(0));
            pg_sys::SPI_execute_plan(self.0, &raw mut argument, std::ptr::null(), true, 1);
            let table = pg_sys::SPI_tuptable;
            if table.is_null() || (*table).numvals == 0 {
                return Vec::new();
            }
            let values = (1..=(*(*table).tupdesc).natts)
                .map(|column| {
                    let mut is_null = false;
                    let value = pg_sys::SPI_getbinval(
                        *(*table).vals,
                        (*table).tupdesc,
                        column,
                        &raw mut is_null,
                    );
                    if is_null { T::default() } else { read(value) }
                })
                .collect();
            pg_sys::SPI_freetuptable(table);
            values
        }
    }

    /// Runs it as a cursor. The transaction's end, or that of [`undone`], closes it.
    pub fn open(&self) -> Cursor {
        // SAFETY: as above; the plan has no parameter. It raises where it can open none.
        Cursor(unsafe {
            pg_sys::SPI_cursor_open(
                std::ptr::null(),
                self.0,
                std::ptr::null_mut(),
                std::ptr::null(),
                true,
            )
        })
    }
}

/// A cursor of SPI's whose query gives one column, rows of a table.
pub struct Cursor(pg_sys::Portal);

/// Some rows as an array, until it is dropped.
pub struct Batch {
    array: pg_sys::Datum,
    /// How many they are.
    pub rows: usize,
    /// How much memory they take.
    pub bytes: usize,
}

impl Cursor {
    /// The next rows, at most that many: none at the end.
    pub fn fetch(&self, count: usize, row_type: pg_sys::Oid) -> Batch {
        // SAFETY: the portal is open. Its rows have one column, a composite, and so a varlena. The
        // array's element type is that of the column.
        unsafe {
            pg_sys::SPI_cursor_fetch(self.0, true, c_long::try_from(count).unwrap_or(1));
            let table = pg_sys::SPI_tuptable;
            let found = match usize::try_from((*table).numvals) {
                Ok(count) if count > 0 => std::slice::from_raw_parts((*table).vals, count),
                _ => &[],
            };
            let mut values = Vec::with_capacity(found.len());
            let mut bytes = 0_usize;
            for tuple in found {
                let mut is_null = false;
                let value = pg_sys::SPI_getbinval(*tuple, (*table).tupdesc, 1, &raw mut is_null);
                bytes = bytes.saturating_add(pgrx::varlena::varsize_any(value.cast_mut_ptr()));
                values.push(value);
            }
            let array = pg_sys::construct_array(
                values.as_mut_ptr(),
                c_int::try_from(values.len()).unwrap_or(0),
                row_type,
                -1,
                false,
                b'd' as std::ffi::c_char,
            );
            pg_sys::SPI_freetuptable(table);
            Batch {
                array: pg_sys::Datum::from(array),
                rows: values.len(),
                bytes,
            }
        }
    }
}

impl Batch {
    /// The array.
    pub fn datum(&self) -> pg_sys::Datum {
        self.array
    }

    /// Gives the memory back, which the end of SPI's connection would do too.
    pub fn free(self) {
        // SAFETY: it was made by construct_array, and nothing refers to it any more.
        unsafe { pg_sys::pfree(self.array.cast_mut_ptr()) }
    }
}

/// A `jsonb` of that text, in the current memory context; `None` where Postgres gives none.
pub fn jsonb(text: &CStr) -> Option<pg_sys::Datum> {
    // SAFETY: jsonb_in takes a NUL-terminated string and gives a jsonb.
    unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::jsonb_in,
            &[Some(pg_sys::Datum::from(text.as_ptr()))],
        )
    }
}

/// A `text` in the current memory context.
pub fn text(text: &str) -> Option<pg_sys::Datum> {
    // The datum of a bytea is that of a text of the same bytes.
    encoding::to_server_lossy(text).as_bytes().into_datum()
}
