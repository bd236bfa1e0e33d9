//! Settings whose text is parsed here and not by Postgres.
//!
//! A setting that Postgres itself parses (an enum, a number) cannot hold an invalid text: a value
//! stored for a role or a database is then dropped at login with a WARNING, and the default is
//! used. The settings here keep such a text, and [`all_readable`] reports it at the first use.
//! Because it is the setting's value, SET, RESET and rollback work on it as on any value.
//!
//! The hooks run outside of pgrx's guard: they allocate nothing and cannot panic. `super::hosts` has the
//! hook of a list, which does both within a guard of its own.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucSetting};
use pgrx::pg_sys;
use pgrx::pg_sys::GucSource::{
    PGC_S_CLIENT, PGC_S_DATABASE, PGC_S_DATABASE_USER, PGC_S_GLOBAL, PGC_S_SESSION, PGC_S_USER,
};

use crate::pg::encoding::from_server_lossy;
use crate::pg::report::{Report, SqlState};
use crate::pg::unguarded;
use crate::settings::definition::Definition;
use crate::settings::errors;

/// The value of a text that cannot be read.
const UNREADABLE: c_int = c_int::MIN;

/// The settings with such a text, by bit.
static UNREADABLE_SETTINGS: AtomicU32 = AtomicU32::new(0);

/// Set while the settings are being defined, when Postgres passes the values of placeholders.
static DEFINING: AtomicBool = AtomicBool::new(false);

/// The allowed texts of a setting.
enum Kind {
    /// One of these names, in any case; its value is the index in the list.
    Choice(&'static [&'static CStr]),
    /// Any text that Postgres accepts for a `boolean` setting.
    Boolean,
    /// Any text that Postgres accepts for an `integer` setting, in this range, with a unit where
    /// there are flags for one.
    Integer(c_int, c_int, c_int),
}

/// A setting, with the meaning of its present text.
pub struct Setting {
    name: &'static CStr,
    kind: Kind,
    /// The HINT of a refusal.
    available: &'static CStr,
    text: GucSetting<Option<CString>>,
    value: AtomicI32,
}

impl Setting {
    const fn new(
        name: &'static CStr,
        kind: Kind,
        available: &'static CStr,
        default: &'static CStr,
    ) -> Self {
        Self {
            name,
            kind,
            available,
            text: GucSetting::<Option<CString>>::new(Some(default)),
            value: AtomicI32::new(UNREADABLE),
        }
    }

    /// One of these names, as in an enum setting.
    pub const fn choice(
        name: &'static CStr,
        names: &'static [&'static CStr],
        available: &'static CStr,
        default: &'static CStr,
    ) -> Self {
        Self::new(name, Kind::Choice(names), available, default)
    }

    /// Parsed as a `boolean` setting.
    pub const fn boolean(name: &'static CStr, default: &'static CStr) -> Self {
        Self::new(name, Kind::Boolean, c"Available values: on, off.", default)
    }

    /// Parsed as an `integer` setting, from `least` to `most`.
    pub const fn integer(
        name: &'static CStr,
        least: c_int,
        most: c_int,
        available: &'static CStr,
        default: &'static CStr,
    ) -> Self {
        Self::new(name, Kind::Integer(least, most, 0), available, default)
    }

    /// As [`integer`](Self::integer), from 0, with a unit of time; without one, in milliseconds.
    pub const fn milliseconds(
        name: &'static CStr,
        most: c_int,
        available: &'static CStr,
        default: &'static CStr,
    ) -> Self {
        let kind = Kind::Integer(0, most, pg_sys::GUC_UNIT_MS as c_int);
        Self::new(name, kind, available, default)
    }

    /// The meaning of its text: the number, 0 or 1, or the index in the list of names; `None` where
    /// the text cannot be read.
    #[inline]
    pub fn value(&self) -> Option<c_int> {
        match self.value.load(Ordering::Relaxed) {
            UNREADABLE => None,
            value => Some(value),
        }
    }

    /// Reads a text. Allocates nothing and cannot raise.
    ///
    /// # Safety
    ///
    /// `text` must be NULL or NUL-terminated.
    unsafe fn read(&self, text: *const c_char) -> Option<c_int> {
        if text.is_null() {
            return None;
        }
        // SAFETY: as the caller promises; the two functions of Postgres write to `value` and nothing else.
        unsafe {
            match self.kind {
                Kind::Choice(names) => {
                    let text = CStr::from_ptr(text).to_bytes();
                    let place = names
                        .iter()
                        .position(|name| name.to_bytes().eq_ignore_ascii_case(text))?;
                    c_int::try_from(place).ok()
                }
                Kind::Boolean => {
                    let mut value = false;
                    unguarded::parse_bool(text, &raw mut value).then(|| c_int::from(value))
                }
                Kind::Integer(least, most, flags) => {
                    let mut value = 0;
                    let is_integer =
                        unguarded::parse_int(text, &raw mut value, flags, std::ptr::null_mut());
                    (is_integer && (least..=most).contains(&value)).then_some(value)
                }
            }
        }
    }
}

/// The settings that are parsed here.
static SETTINGS: [&Setting; 7] = [
    &super::SCOPE,
    &super::CACHE_SIZE,
    &super::AUDIT_LOG,
    &super::EVALUATE_ONCE,
    &super::REQUIRE_TOKEN,
    &super::UNVERIFIED_CLAIMS,
    &super::FETCH_WAIT,
];

/// Defines the setting at index `I` of [`SETTINGS`].
pub fn define<const I: usize>(
    short: &'static CStr,
    long: &'static CStr,
    context: GucContext,
    flags: GucFlags,
) {
    let Some(setting) = SETTINGS.get(I) else {
        return;
    };
    // SAFETY: the hooks keep the rules in the module's description.
    unsafe {
        define_keeping(&Definition {
            name: setting.name,
            short,
            long,
            setting: &setting.text,
            context: context as isize as _,
            flags,
            check: Some(check::<I>),
            assign: Some(assign::<I>),
            show: None,
        });
    }
}

/// Defines a setting that keeps a text that cannot be read, if it had that before.
///
/// # Safety
///
/// As for [`Definition::define`].
pub unsafe fn define_keeping(definition: &Definition) {
    DEFINING.store(true, Ordering::Relaxed);
    // SAFETY: as the caller promises.
    unsafe { definition.define() };
    DEFINING.store(false, Ordering::Relaxed);
}

/// Whether a check hook is called for a text that is kept, whatever it is: one from before the library was
/// loaded, or the leader's of a parallel worker.
pub fn is_kept() -> bool {
    // SAFETY: reads a variable of the process.
    DEFINING.load(Ordering::Relaxed) || unsafe { pg_sys::ParallelWorkerNumber } >= 0
}

/// Refuses an unreadable text where the refusal reaches the one who sets it: SET, ALTER ROLE, a
/// connection option, a reload of the configuration file (which then keeps the former value). A
/// text from elsewhere, or one that was accepted before the library was loaded, is kept.
unsafe extern "C-unwind" fn check<const I: usize>(
    text: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    let Some(setting) = SETTINGS.get(I) else {
        return true;
    };
    // SAFETY: Postgres passes a NUL-terminated text or NULL. The messages are read only, and live
    // long enough.
    unsafe {
        // A parallel worker accepts the value of its leader.
        if (*text).is_null() || pg_sys::ParallelWorkerNumber >= 0 {
            return true;
        }
        let Some(value) = setting.read(*text) else {
            if DEFINING.load(Ordering::Relaxed)
                || (PGC_S_GLOBAL..=PGC_S_DATABASE_USER).contains(&source)
            {
                return true;
            }
            pg_sys::GUC_check_errhint_string = setting.available.as_ptr().cast_mut();
            return false;
        };
        if source >= PGC_S_CLIENT && !super::may_be_given(setting, value) {
            unguarded::GUC_check_errcode(SqlState::INSUFFICIENT_PRIVILEGE.encoded());
            pg_sys::GUC_check_errmsg_string =
                c"permission denied to set parameter \"pg_auth_jwt.scope\" to \"session\""
                    .as_ptr()
                    .cast_mut();
            pg_sys::GUC_check_errhint_string =
                c"A single token is set for the session with is_local => false."
                    .as_ptr()
                    .cast_mut();
            return false;
        }
        true
    }
}

unsafe extern "C-unwind" fn assign<const I: usize>(text: *const c_char, _extra: *mut c_void) {
    let (Some(setting), Ok(place)) = (SETTINGS.get(I), u32::try_from(I)) else {
        return;
    };
    let bit = 1_u32.wrapping_shl(place);
    // SAFETY: Postgres passes a NUL-terminated text or NULL.
    match unsafe { setting.read(text) } {
        Some(value) => {
            setting.value.store(value, Ordering::Relaxed);
            UNREADABLE_SETTINGS.fetch_and(!bit, Ordering::Relaxed);
        }
        None => {
            setting.value.store(UNREADABLE, Ordering::Relaxed);
            UNREADABLE_SETTINGS.fetch_or(bit, Ordering::Relaxed);
            // So that an identity from before is not used any longer.
            super::note_token_assigned();
        }
    }
}

/// Whether each setting can be read.
///
/// # Errors
///
/// Names the first one that cannot, and how to correct it.
#[inline]
pub fn all_readable() -> Result<(), Report> {
    match UNREADABLE_SETTINGS.load(Ordering::Relaxed) {
        0 => Ok(()),
        bits => Err(unreadable(bits)),
    }
}

#[cold]
fn unreadable(bits: u32) -> Report {
    let place = usize::try_from(bits.trailing_zeros()).unwrap_or(0);
    let Some(setting) = SETTINGS.get(place) else {
        return errors::setting_denied("pg_auth_jwt");
    };
    let name = setting.name.to_string_lossy();
    let text = setting.text.get().unwrap_or_default();
    let source = super::records()
        .iter()
        .find(|record| record.is(setting.name))
        .map_or(PGC_S_SESSION, |record| record.source);
    let (place, remedy) = origin(source, &name);
    errors::setting_unreadable(
        &name,
        &from_server_lossy(&text.into_bytes()),
        &setting.available.to_string_lossy(),
        &place,
        &remedy,
    )
}

/// Where a setting's value comes from, and how to correct it there: parts of a DETAIL and a HINT.
pub fn origin(source: pg_sys::GucSource::Type, name: &str) -> (String, String) {
    let stored = |alter: String| {
        (
            format!("is stored by {alter} SET"),
            format!("Use {alter} RESET {name}, then connect again."),
        )
    };
    match source {
        PGC_S_GLOBAL => stored("ALTER ROLE ALL".to_owned()),
        PGC_S_DATABASE => stored(format!("ALTER DATABASE {}", database())),
        PGC_S_USER => stored(format!("ALTER ROLE {}", role())),
        PGC_S_DATABASE_USER => stored(format!("ALTER ROLE {} IN DATABASE {}", role(), database())),
        PGC_S_CLIENT => (
            "was given as a connection option".to_owned(),
            "Correct the connection option, and connect again.".to_owned(),
        ),
        source if source > PGC_S_CLIENT => (
            "was set in this session".to_owned(),
            format!("Correct it with SET or RESET {name}."),
        ),
        _ => (
            "stands in the server's configuration".to_owned(),
            "Correct postgresql.conf, or use ALTER SYSTEM, and reload the configuration."
                .to_owned(),
        ),
    }
}

/// The role that logged in, whose stored settings apply, quoted as in SQL.
fn role() -> String {
    // SAFETY: looks up a name; NULL where there is none.
    unsafe {
        quoted(pg_sys::GetUserNameFromId(
            pg_sys::GetAuthenticatedUserId(),
            true,
        ))
    }
}

/// The database, quoted as in SQL.
fn database() -> String {
    // SAFETY: looks up a name; NULL where there is none.
    unsafe { quoted(pg_sys::get_database_name(pg_sys::MyDatabaseId)) }
}

/// # Safety
///
/// `name` must be NULL or NUL-terminated.
unsafe fn quoted(name: *const c_char) -> String {
    if name.is_null() {
        return "...".to_owned();
    }
    // SAFETY: as the caller promises; the result is NUL-terminated.
    unsafe {
        let name = CStr::from_ptr(pg_sys::quote_identifier(name));
        from_server_lossy(name.to_bytes())
    }
}
