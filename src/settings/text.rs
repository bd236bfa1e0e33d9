//! Settings whose text is parsed here and not by Postgres.
//!
//! A setting that Postgres itself parses (an enum, a number) cannot hold an invalid text: a value
//! stored for a role or a database is then dropped at login with a WARNING, and the default is
//! used. The settings here keep such a text, and [`all_readable`] reports it at the first use.
//! Because it is the setting's value, SET, RESET and rollback work on it as on any value.
//!
//! The hooks run outside of pgrx's guard: they allocate nothing and cannot panic. `super::hosts` has the
//! hook of a list, which does both within a guard of its own.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pgrx::pg_sys;
use pgrx::pg_sys::GucSource::{
    PGC_S_CLIENT, PGC_S_DATABASE, PGC_S_DATABASE_USER, PGC_S_GLOBAL, PGC_S_SESSION, PGC_S_USER,
};

use crate::pg::definition::Definition;
use crate::pg::encoding::from_server_lossy;
use crate::pg::report::{Report, SqlState};
use crate::pg::unguarded;
use crate::settings::errors;
use crate::settings::table::{self, ALL, Setting, ValueKind};
use crate::settings::token;

/// The settings with such a text, by bit.
static UNREADABLE_SETTINGS: AtomicU32 = AtomicU32::new(0);

/// Set while the settings are being defined, when Postgres passes the values of placeholders.
static DEFINING: AtomicBool = AtomicBool::new(false);

impl Setting {
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
                ValueKind::Choice { names, .. } => {
                    let text = CStr::from_ptr(text).to_bytes();
                    let place = names
                        .iter()
                        .position(|name| name.to_bytes().eq_ignore_ascii_case(text))?;
                    c_int::try_from(place).ok()
                }
                ValueKind::Boolean => {
                    let mut value = false;
                    unguarded::parse_bool(text, &raw mut value).then(|| c_int::from(value))
                }
                ValueKind::Integer {
                    least, most, unit, ..
                } => {
                    let mut value = 0;
                    let is_integer =
                        unguarded::parse_int(text, &raw mut value, unit, std::ptr::null_mut());
                    (is_integer && (least..=most).contains(&value)).then_some(value)
                }
                ValueKind::Token | ValueKind::Hosts | ValueKind::Text => None,
            }
        }
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

/// Whether a check hook is called for a text that is kept in any case: one from before the library
/// was loaded, or that of a parallel worker's leader.
pub fn is_kept() -> bool {
    // SAFETY: reads a variable of the process.
    DEFINING.load(Ordering::Relaxed) || unsafe { pg_sys::ParallelWorkerNumber } >= 0
}

/// Refuses an unreadable text if the refusal reaches the role that sets it: SET, ALTER ROLE, a connection
/// option, a reload of the configuration file (which then keeps the former value). A text of
/// another source, or one that was accepted before the library was loaded, is kept.
pub unsafe extern "C-unwind" fn check<const I: usize>(
    text: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    let Some(setting) = ALL.get(I) else {
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
            pg_sys::GUC_check_errhint_string = setting.available().as_ptr().cast_mut();
            return false;
        };
        if source >= PGC_S_CLIENT
            && let ValueKind::Choice {
                of_superuser: Some(of_superuser),
                ..
            } = &setting.kind
            && of_superuser.value == value
            && !is_of_superuser()
        {
            unguarded::GUC_check_errcode(SqlState::INSUFFICIENT_PRIVILEGE.encoded());
            pg_sys::GUC_check_errmsg_string = of_superuser.message.as_ptr().cast_mut();
            pg_sys::GUC_check_errhint_string = of_superuser.hint.as_ptr().cast_mut();
            return false;
        }
        true
    }
}

/// Whether the client, or the role that stores a value for a role or a database, is a superuser:
/// the session's user and not the current one, which may be the owner of a SECURITY DEFINER
/// function.
///
/// A check hook calls this: it does not panic and holds nothing that needs a drop.
fn is_of_superuser() -> bool {
    // SAFETY: a transaction can read the catalogs.
    unguarded::IsTransactionState()
        && unsafe { unguarded::superuser_arg(unguarded::GetSessionUserId()) }
}

/// Notes the meaning of a text that Postgres assigns.
pub unsafe extern "C-unwind" fn assign<const I: usize>(text: *const c_char, _extra: *mut c_void) {
    let (Some(setting), Ok(place)) = (ALL.get(I), u32::try_from(I)) else {
        return;
    };
    let bit = 1_u32.wrapping_shl(place);
    #[cfg(login_by_token)]
    if std::ptr::eq(*setting, &raw const table::LOGIN_SESSION) {
        // The token counts from now on, or no longer.
        token::note_assigned();
    }
    // SAFETY: Postgres passes a NUL-terminated text or NULL.
    match unsafe { setting.read(text) } {
        Some(value) => {
            setting.set_value(Some(value));
            UNREADABLE_SETTINGS.fetch_and(!bit, Ordering::Relaxed);
        }
        None => {
            setting.set_value(None);
            UNREADABLE_SETTINGS.fetch_or(bit, Ordering::Relaxed);
            // An identity from before must not be used any longer.
            token::note_assigned();
        }
    }
}

/// Whether each setting can be read.
///
/// # Errors
///
/// Names the first one that cannot, and the correction.
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
    // No setting has another bit.
    let setting = ALL.get(place).copied().unwrap_or(&table::SCOPE);
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
        &setting.available().to_string_lossy(),
        &place,
        &remedy,
    )
}

/// Source of a setting's value, and its correction there: parts of a DETAIL and a HINT.
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
    // SAFETY: looks up a name; NULL if there is none.
    unsafe {
        quoted(pg_sys::GetUserNameFromId(
            pg_sys::GetAuthenticatedUserId(),
            true,
        ))
    }
}

/// The database, quoted as in SQL.
fn database() -> String {
    // SAFETY: looks up a name; NULL if there is none.
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
