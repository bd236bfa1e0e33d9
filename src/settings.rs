//! The settings `pg_auth_jwt.*`.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::pg_sys;

use crate::errors;
use crate::report::Report;

/// The session's token: the only place where an identity lives. Everything that Postgres does to a
/// setting (SET LOCAL, rollback, DISCARD ALL, a parallel worker's copy) it thereby does to identity.
static TOKEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// How long a token set by `auth.jwt_session_init` lasts at most; `session` by default, because
/// that is what `set_config` does.
static SCOPE: GucSetting<Scope> = GucSetting::<Scope>::new(Scope::Session);

/// Verified tokens kept per backend; 256 by default: a pooled backend serves about as many users
/// between two visits of the same one, at 2 to 4 KiB each.
static CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(256);

/// Which verifications are logged; none by default.
static AUDIT_LOG: GucSetting<AuditLog> = GucSetting::<AuditLog>::new(AuditLog::Off);

/// Whether claim functions, and expressions of claims and constants, are evaluated once per execution; on
/// by default. Off, they are evaluated wherever the plan says so, which is a way to compare.
static EVALUATE_ONCE: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Set by Postgres's assignment of the token, by whatever way it changes.
static TOKEN_ASSIGNED: AtomicBool = AtomicBool::new(true);

/// The name of the setting that holds the token.
pub const TOKEN_NAME: &CStr = c"pg_auth_jwt.token";
const SCOPE_NAME: &CStr = c"pg_auth_jwt.scope";
const CACHE_SIZE_NAME: &CStr = c"pg_auth_jwt.cache_size";
const AUDIT_LOG_NAME: &CStr = c"pg_auth_jwt.audit_log";
const EVALUATE_ONCE_NAME: &CStr = c"pg_auth_jwt.evaluate_once";

/// The names of all settings.
const NAMES: [&CStr; 5] = [
    TOKEN_NAME,
    SCOPE_NAME,
    CACHE_SIZE_NAME,
    AUDIT_LOG_NAME,
    EVALUATE_ONCE_NAME,
];

/// Values of `pg_auth_jwt.scope`.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Scope {
    /// `is_local` decides.
    #[name = c"session"]
    Session,
    /// As if `is_local` were always true.
    #[name = c"transaction"]
    Transaction,
}

/// Values of `pg_auth_jwt.audit_log`.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum AuditLog {
    /// No verification is logged.
    #[name = c"off"]
    Off,
    /// Refusals are.
    #[name = c"failures"]
    Failures,
    /// Each verification is.
    #[name = c"all"]
    All,
}

/// Settings that were given before the library was loaded are but names to Postgres, and what they say
/// is carried over when they are defined. Not so during a parallel operation, where no setting may
/// change: there Postgres would warn, and go on without the token, or without
/// `scope = transaction`, to the end of the session. So the library is not loaded then.
///
/// # Errors
///
/// Where something would be lost.
pub fn refuse_to_lose_any() -> Result<(), Report> {
    // SAFETY: the names are NUL-terminated; GetConfigOption gives NULL for one that is not known, else
    // a NUL-terminated string.
    let lost = unsafe {
        pg_sys::IsInParallelMode()
            && NAMES.iter().any(|name| {
                let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
                !value.is_null() && *value != 0
            })
    };
    if lost {
        return Err(errors::loaded_too_late());
    }
    Ok(())
}

thread_local! {
    /// A setting that the client was not allowed to give.
    static DENIED: Cell<Option<&'static CStr>> = const { Cell::new(None) };
}

/// Whether what the setting is reset to, be it defined yet or only a name, is a connection option.
fn is_connection_option(name: &CStr) -> bool {
    // SAFETY: the name is NUL-terminated; Postgres keeps a record for each setting (src/include/utils/
    // guc_tables.h), which is only read.
    unsafe {
        let record: *const pg_sys::config_generic;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        {
            let count = usize::try_from(pg_sys::GetNumConfigOptions()).unwrap_or(0);
            let records = std::slice::from_raw_parts(pg_sys::get_guc_variables(), count);
            let is_named = |record: &*mut pg_sys::config_generic| {
                let known = CStr::from_ptr((**record).name).to_bytes();
                known.eq_ignore_ascii_case(name.to_bytes())
            };
            let found = records.iter().copied().find(is_named);
            record = found.unwrap_or(std::ptr::null_mut());
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            record = pg_sys::find_option(name.as_ptr(), false, true, 0);
        }
        !record.is_null() && (*record).reset_source == pg_sys::GucSource::PGC_S_CLIENT
    }
}

/// Defines the settings; called when the library is loaded.
///
/// # Errors
///
/// Where the client has given one that takes a superuser to set, as a connection option. Postgres lets
/// it in while it is but a name, in place of what role, database and configuration file say, and would
/// now drop it, and them, with a mere warning.
pub fn register() -> Result<(), Report> {
    /// Those that bind a client.
    const BINDING: [&CStr; 3] = [SCOPE_NAME, CACHE_SIZE_NAME, AUDIT_LOG_NAME];

    if DENIED.get().is_none() {
        let given = BINDING.map(is_connection_option);
        define();
        for (name, given) in BINDING.into_iter().zip(given) {
            if given && !is_connection_option(name) {
                DENIED.set(Some(name));
            }
        }
    }
    match DENIED.get() {
        None => Ok(()),
        Some(name) => Err(errors::setting_denied(&name.to_string_lossy())),
    }
}

fn define() {
    // SAFETY: the hooks change their argument and an atomic, so they cannot panic or raise.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            TOKEN_NAME,
            c"The JSON Web Token of this session's user.",
            c"Verified at first use; auth.jwt_session_init() also verifies it at once.",
            &TOKEN,
            GucContext::Userset,
            GucFlags::SUPERUSER_ONLY | GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
            Some(check_token),
            Some(token_assigned),
            None,
        );
    }
    GucRegistry::define_enum_guc(
        SCOPE_NAME,
        c"How long a token set by auth.jwt_session_init() lasts at most.",
        c"\"transaction\" suits roles that connect through a transaction pooler.",
        &SCOPE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        CACHE_SIZE_NAME,
        c"Number of verified tokens that each backend keeps.",
        c"0 turns the cache off.",
        &CACHE_SIZE,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        AUDIT_LOG_NAME,
        c"Which verifications are written to the server log.",
        c"",
        &AUDIT_LOG,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        EVALUATE_ONCE_NAME,
        c"Evaluates auth.user_id() and the other claim functions once per execution.",
        c"So are expressions of claims and constants. Off, they are evaluated for each row.",
        &EVALUATE_ONCE,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );

    // SAFETY: the argument is a NUL-terminated string that Postgres copies.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"pg_auth_jwt".as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"pg_auth_jwt".as_ptr());
    }
}

/// A token comes from the session, never from a default that is stored for a role or a database: any
/// role may store one for itself (ALTER ROLE ... SET), and where many users share it, each of them
/// would begin as whoever did.
///
/// The value is emptied and not refused: a refusal would quote it.
unsafe extern "C-unwind" fn check_token(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    use pg_sys::GucSource::{PGC_S_DATABASE_USER, PGC_S_ENV_VAR};
    if (PGC_S_ENV_VAR..=PGC_S_DATABASE_USER).contains(&source) {
        // SAFETY: Postgres passes a NUL-terminated copy that it made for this assignment.
        unsafe {
            if !(*value).is_null() {
                **value = 0;
            }
        }
    }
    true
}

unsafe extern "C-unwind" fn token_assigned(_value: *const c_char, _extra: *mut c_void) {
    TOKEN_ASSIGNED.store(true, Ordering::Relaxed);
}

/// Whether the token was assigned since [`clear_token_assigned`].
#[inline]
pub fn token_was_assigned() -> bool {
    TOKEN_ASSIGNED.load(Ordering::Relaxed)
}

/// To be called before the token is read, so that no assignment goes unseen.
pub fn clear_token_assigned() {
    TOKEN_ASSIGNED.store(false, Ordering::Relaxed);
}

/// Looks at the token, empty if there is none.
///
/// Lent and not copied, so `look` must call nothing that could assign the setting.
///
/// # Errors
///
/// Where it is longer than any token, so that nobody copies it: a setting may be as long as a statement,
/// and where Rust cannot have memory it ends the process, and Postgres then restarts all of them.
pub fn with_token<T>(look: impl FnOnce(&[u8]) -> T) -> Result<T, Report> {
    // SAFETY: Postgres keeps the variable pointing to NULL or to a NUL-terminated string, which
    // lives until the next assignment.
    let token = unsafe {
        let value = *TOKEN.as_ptr();
        if value.is_null() {
            c""
        } else {
            CStr::from_ptr(value)
        }
    };
    let bytes = token.count_bytes();
    if bytes > jwt_verify::limits::MAX_TOKEN_BYTES {
        return Err(errors::report(&jwt_verify::Error::TokenTooLong { bytes }));
    }
    Ok(look(token.to_bytes()))
}

/// See [`SCOPE`].
pub fn scope() -> Scope {
    SCOPE.get()
}

/// See [`CACHE_SIZE`].
pub fn cache_size() -> usize {
    usize::try_from(CACHE_SIZE.get()).unwrap_or(0)
}

/// See [`AUDIT_LOG`].
pub fn audit_log() -> AuditLog {
    AUDIT_LOG.get()
}

/// See [`EVALUATE_ONCE`].
pub fn evaluate_once() -> bool {
    EVALUATE_ONCE.get()
}
