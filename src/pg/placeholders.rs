//! Postgres's records of settings, of which those that are not defined yet are placeholders: they take
//! any text from anybody, by any name with a dot.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::GucSource;

use crate::pg::encoding;
#[cfg(not(feature = "pg15"))]
use crate::pg::search;

/// Postgres's record of one setting (src/include/utils/guc_tables.h).
pub struct Record {
    pub name: String,
    /// Source of its present value.
    pub source: GucSource::Type,
    /// Source of the value that RESET would give.
    pub reset_source: GucSource::Type,
    /// Whether no library has defined it yet.
    pub is_placeholder: bool,
}

impl Record {
    /// # Safety
    ///
    /// `record` must be one of Postgres's.
    unsafe fn of(record: *const pg_sys::config_generic) -> Self {
        // SAFETY: as the caller promises; the name is NUL-terminated.
        unsafe {
            Self {
                name: encoding::from_server_lossy(CStr::from_ptr((*record).name).to_bytes()),
                source: (*record).source,
                reset_source: (*record).reset_source,
                is_placeholder: (*record).flags & pg_sys::GUC_CUSTOM_PLACEHOLDER as c_int != 0,
            }
        }
    }

    /// Whether it is the setting of that name. Postgres compares names in any case.
    pub fn is(&self, name: &CStr) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(name.to_bytes())
    }
}

/// The records of the settings whose names begin like this; `known` are the names that usually do.
/// Runs once in each new connection that uses the extension, so it is quick if there are no others.
pub fn with_prefix(prefix: &[u8], known: &[&CStr]) -> Vec<Record> {
    // Since Postgres 16 each listing of all records is sorted by name, which takes longer than all the
    // rest of what is done with settings when the library is loaded.
    #[cfg(not(feature = "pg15"))]
    if !any_other_is_set(prefix, known) {
        return known.iter().filter_map(|name| find(name)).collect();
    }
    #[cfg(feature = "pg15")]
    let _ = known;
    all_with_prefix(prefix)
}

fn all_with_prefix(prefix: &[u8]) -> Vec<Record> {
    // SAFETY: Postgres gives as many records as it says; they are only read, and what is kept of them
    // is copied.
    unsafe {
        #[cfg(feature = "pg15")]
        let (records, count) = (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions());
        #[cfg(not(feature = "pg15"))]
        let (records, count) = {
            let mut count = 0;
            let records = pg_sys::get_guc_variables(&raw mut count);
            (records, count)
        };
        std::slice::from_raw_parts(records, usize::try_from(count).unwrap_or(0))
            .iter()
            .filter(|record| begins_with(CStr::from_ptr((***record).name).to_bytes(), prefix))
            .map(|record| Record::of(*record))
            .collect()
    }
}

fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The record of one setting, if there is one.
#[cfg(not(feature = "pg15"))]
fn find(name: &CStr) -> Option<Record> {
    // SAFETY: the name is NUL-terminated; nothing is created or raised if there is none.
    unsafe {
        let record = pg_sys::find_option(name.as_ptr(), false, true, 0);
        (!record.is_null()).then(|| Record::of(record))
    }
}

/// Whether a setting of another name with this prefix has a value. False alarms are possible.
///
/// Looks through the data that Postgres would pass to a parallel worker: the names and values of
/// all settings that are not at their defaults, NUL-terminated.
#[cfg(not(feature = "pg15"))]
fn any_other_is_set(prefix: &[u8], known: &[&CStr]) -> bool {
    let Some(first) = prefix.first() else {
        return true;
    };
    // SAFETY: the buffer is as large as Postgres asked for, zeroed, and freed at the end.
    unsafe {
        let size = pg_sys::EstimateGUCStateSpace();
        let buffer = pg_sys::palloc0(size).cast::<u8>();
        pg_sys::SerializeGUCState(size, buffer.cast());
        let state = std::slice::from_raw_parts(buffer, size);
        let found = search::places_of_either(
            first.to_ascii_lowercase(),
            first.to_ascii_uppercase(),
            state,
        )
        .filter_map(|at| state.get(at..))
        .filter(|rest| begins_with(rest, prefix))
        .any(|rest| {
            let name = rest.split(|byte| *byte == 0).next().unwrap_or(rest);
            !known
                .iter()
                .any(|known| known.to_bytes().eq_ignore_ascii_case(name))
        });
        pg_sys::pfree(buffer.cast());
        found
    }
}
