//! Defines a setting.
//!
//! Up to Postgres 15 all settings are in an array that is in the order of their names, and that is
//! sorted whenever a setting is added at its end: 35 µs and 400,000 instructions each in a
//! connection's first statement, since a sort takes long unless the array is in order already. For
//! eleven settings that is 0.28 ms of CPU that a new connection does not take
//! (docs/performance.md). So a setting is added there under a name that belongs at the end, and
//! then given its own, at the place where that belongs. The array has all settings, in their order,
//! at each step that can fail.

use std::ffi::{CStr, CString};

use pgrx::guc::{GucFlags, GucSetting};
use pgrx::pg_sys;

/// A text setting, as `DefineCustomStringVariable` is told of it.
pub struct Definition {
    pub name: &'static CStr,
    pub short: &'static CStr,
    pub long: &'static CStr,
    pub setting: &'static GucSetting<Option<CString>>,
    pub context: pg_sys::GucContext::Type,
    pub flags: GucFlags,
    pub check: pg_sys::GucStringCheckHook,
    pub assign: pg_sys::GucStringAssignHook,
    pub show: pg_sys::GucShowHook,
}

impl Definition {
    /// Defines it. A placeholder of its name passes its value on.
    ///
    /// # Safety
    ///
    /// The hooks must neither panic nor raise.
    pub unsafe fn define(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            #[cfg(feature = "pg15")]
            if sorted::define(self) {
                return;
            }
            self.define_as(self.name);
        }
    }

    /// # Safety
    ///
    /// As for [`define`](Self::define).
    unsafe fn define_as(&self, name: &CStr) {
        // SAFETY: as the caller promises. Postgres copies the name; the other texts and the
        // variable live as long as the library.
        unsafe {
            pg_sys::DefineCustomStringVariable(
                name.as_ptr(),
                self.short.as_ptr(),
                self.long.as_ptr(),
                self.setting.as_ptr(),
                *self.setting.as_ptr(),
                self.context,
                self.flags.bits(),
                self.check,
                self.assign,
                self.show,
            );
        }
    }
}

#[cfg(feature = "pg15")]
mod sorted {
    use std::cmp::Ordering;
    use std::ffi::{CStr, c_char};

    use pgrx::pg_sys;

    use super::Definition;

    type Record = *mut pg_sys::config_generic;

    /// Defines the setting without a sort; or does nothing and returns false, if Postgres has a
    /// setting of that name (a placeholder is replaced without a sort), or one whose name comes
    /// after all expected ones.
    ///
    /// # Safety
    ///
    /// As for [`Definition::define`].
    pub unsafe fn define(definition: &Definition) -> bool {
        /// After every letter, with which Postgres has names begin.
        const LAST: u8 = b'~';
        let name = definition.name.to_bytes_with_nul();
        let mut name_at_end = name.to_vec();
        let (Some(first), Some(first_at_end)) = (name.first(), name_at_end.first_mut()) else {
            return false;
        };
        *first_at_end = LAST;
        let Ok(name_at_end) = CStr::from_bytes_with_nul(&name_at_end) else {
            return false;
        };
        // SAFETY: as the caller promises. Each record's name is NUL-terminated. The new record's is
        // a copy that Postgres has made of ours, of the same length; nothing reads it meanwhile.
        unsafe {
            let records = records();
            let is_before = |record: &Record| compare((**record).name, definition.name).is_lt();
            let place = records.partition_point(is_before);
            let is_known = (records.get(place))
                .is_some_and(|record| compare((**record).name, definition.name).is_eq());
            let is_last = (records.last())
                .is_some_and(|record| compare((**record).name, name_at_end).is_lt());
            if is_known || !is_last {
                return false;
            }
            definition.define_as(name_at_end);
            if let Some(behind) = self::records().get_mut(place..)
                && let Some(record) = behind.last()
            {
                *(**record).name.cast_mut() = c_char::from_ne_bytes([*first]);
                behind.rotate_right(1);
            }
            true
        }
    }

    /// Postgres's array.
    ///
    /// # Safety
    ///
    /// No setting may be added while it is used.
    unsafe fn records<'a>() -> &'a mut [Record] {
        // SAFETY: Postgres gives as many records as it says.
        unsafe {
            let count = usize::try_from(pg_sys::GetNumConfigOptions()).unwrap_or(0);
            std::slice::from_raw_parts_mut(pg_sys::get_guc_variables(), count)
        }
    }

    /// Compares as `guc_name_compare` in src/backend/utils/misc/guc.c does, whose `char` may be
    /// signed too.
    ///
    /// # Safety
    ///
    /// `one` must be NUL-terminated.
    unsafe fn compare(one: *const c_char, other: &CStr) -> Ordering {
        // SAFETY: as the caller promises.
        let one = unsafe { CStr::from_ptr(one) };
        let lower = |byte: &u8| c_char::from_ne_bytes([byte.to_ascii_lowercase()]);
        let (one, other) = (one.to_bytes().iter(), other.to_bytes().iter());
        one.map(lower).cmp(other.map(lower))
    }
}
