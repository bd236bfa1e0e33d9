//! The settings `pg_auth_jwt.*`.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucSetting};
use pgrx::pg_sys;

use crate::errors;
use crate::pg::report::Report;
use crate::pg::unguarded;

mod definition;
mod placeholders;
mod text;

use definition::Definition;
use text::Setting;

/// The session's token: the only place where an identity lives. Everything that Postgres does to a
/// setting (SET LOCAL, rollback, DISCARD ALL, a parallel worker's copy) it thereby does to identity.
static TOKEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// How long a token set by `auth.jwt_session_init` lasts where the call does not say; see [`Scope`].
static SCOPE: Setting = Setting::choice(
    SCOPE_NAME,
    &[c"session", c"auto", c"transaction"],
    c"Available values: auto, transaction, session.",
    c"auto",
);

/// Verified tokens kept per backend; 256 by default: a pooled backend serves about as many users
/// between two visits of the same one, at 2 to 4 KiB each.
static CACHE_SIZE: Setting = Setting::integer(
    CACHE_SIZE_NAME,
    0,
    1_000_000,
    c"Available values: 0 to 1000000.",
    c"256",
);

/// Which verifications are logged; none by default.
static AUDIT_LOG: Setting = Setting::choice(
    AUDIT_LOG_NAME,
    &[c"off", c"failures", c"all"],
    c"Available values: off, failures, all.",
    c"off",
);

/// Whether the planner evaluates claim functions once per execution; on by default. Off, they are called
/// wherever the query says so: for those who doubt the plan.
static EVALUATE_ONCE: Setting = Setting::boolean(EVALUATE_ONCE_NAME, c"on");

/// Whether a claim function without a token raises an error; off by default. On, it is for roles that
/// never work anonymously: there no token means that the application forgot it.
static REQUIRE_TOKEN: Setting = Setting::boolean(REQUIRE_TOKEN_NAME, c"off");

/// Set by Postgres's assignment of the token, by whatever way it changes.
static TOKEN_ASSIGNED: AtomicBool = AtomicBool::new(true);

/// What the names of all settings begin with.
const PREFIX: &CStr = c"pg_auth_jwt";

/// The name of the setting that holds the token.
pub const TOKEN_NAME: &CStr = c"pg_auth_jwt.token";
const SCOPE_NAME: &CStr = c"pg_auth_jwt.scope";
const CACHE_SIZE_NAME: &CStr = c"pg_auth_jwt.cache_size";
const AUDIT_LOG_NAME: &CStr = c"pg_auth_jwt.audit_log";
const EVALUATE_ONCE_NAME: &CStr = c"pg_auth_jwt.evaluate_once";
const REQUIRE_TOKEN_NAME: &CStr = c"pg_auth_jwt.require_token";

/// The names of all settings.
const NAMES: [&CStr; 6] = [
    TOKEN_NAME,
    SCOPE_NAME,
    CACHE_SIZE_NAME,
    AUDIT_LOG_NAME,
    EVALUATE_ONCE_NAME,
    REQUIRE_TOKEN_NAME,
];

/// Values of `pg_auth_jwt.scope`: what `auth.jwt_session_init` does where `is_local` is NULL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The token is set for the session.
    Session,
    /// In a transaction block it is set for the transaction, elsewhere for the session.
    Auto,
    /// It is set for the transaction, also where `is_local` is false.
    Transaction,
}

/// Values of `pg_auth_jwt.audit_log`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AuditLog {
    /// No verification is logged.
    Off,
    /// Refusals are.
    Failures,
    /// Each verification is.
    All,
}

thread_local! {
    /// What is wrong with the settings that were given before the library was loaded, if that is not a
    /// value that a setting holds.
    static REFUSAL: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// Whether names under our prefix were looked through and the prefix was reserved.
static NAMES_CHECKED: AtomicBool = AtomicBool::new(false);

/// The records of the settings under our prefix.
fn records() -> Vec<placeholders::Record> {
    placeholders::with_prefix(b"pg_auth_jwt.", &NAMES)
}

/// Settings that were given before the library was loaded are placeholders, and their values are
/// carried over when they are defined. Not so during a parallel operation, where no setting may
/// change: there Postgres would warn, and go on without the token, or without
/// `scope = transaction`, to the end of the session. So the library is not loaded then.
fn refuse_to_lose_any(records: &[placeholders::Record]) -> Result<(), Report> {
    use pg_sys::GucSource::PGC_S_DEFAULT;
    // SAFETY: the name is NUL-terminated; GetConfigOption gives NULL for one that is not known, else
    // a NUL-terminated string.
    let holds_token = || unsafe {
        let value = pg_sys::GetConfigOption(TOKEN_NAME.as_ptr(), true, false);
        !value.is_null() && *value != 0
    };
    let is_lost = |record: &placeholders::Record| {
        if record.is(TOKEN_NAME) {
            holds_token()
        } else {
            NAMES.iter().any(|name| record.is(name))
                && (record.source != PGC_S_DEFAULT || record.reset_source != PGC_S_DEFAULT)
        }
    };
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::IsInParallelMode() } && records.iter().any(is_lost) {
        return Err(errors::loaded_too_late());
    }
    Ok(())
}

/// Defines the settings; called when the library is loaded.
///
/// # Errors
///
/// Where a value would be lost that was given before (in a parallel operation), and where the client
/// has given, as a connection option, a setting that takes a superuser. Postgres lets that in while it
/// is a placeholder, in place of what role, database and configuration file say, and would
/// now drop it, and them, with a mere warning.
pub fn register() -> Result<(), Report> {
    use pg_sys::GucSource::PGC_S_CLIENT;

    if let Some(refusal) = REFUSAL.with_borrow(Clone::clone) {
        return Err(refusal);
    }
    let before = records();
    refuse_to_lose_any(&before)?;
    let is_given = |record: &placeholders::Record| record.reset_source == PGC_S_CLIENT;
    define();
    if before.iter().any(is_given) {
        let after = records();
        let gives = |records: &[placeholders::Record], name: &CStr| {
            records
                .iter()
                .any(|record| record.is(name) && is_given(record))
        };
        let denied = NAMES
            .iter()
            .find(|name| gives(&before, name) && !gives(&after, name));
        if let Some(name) = denied {
            let refusal = errors::setting_denied(&name.to_string_lossy());
            REFUSAL.set(Some(refusal.clone()));
            return Err(refusal);
        }
    }
    // Loaded by the server itself, before any session has its settings: they are looked through at the
    // session's first use.
    // SAFETY: reads a variable of the backend.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        check_names(&before);
    }
    Ok(())
}

/// Reserves our prefix, so that no other name under it can be set from now on, unless one is stored.
/// That one is reported at every use, and the prefix not reserved: in older minor releases of Postgres
/// `ALTER ROLE ... RESET` refuses a name under a reserved prefix, and so the remedy.
fn check_names(records: &[placeholders::Record]) {
    use pg_sys::GucSource::{PGC_S_CLIENT, PGC_S_ENV_VAR};

    NAMES_CHECKED.store(true, Ordering::Relaxed);
    // What this session itself has set is dropped with Postgres's own warning.
    let unknown = records.iter().find(|record| {
        record.is_placeholder
            && (PGC_S_ENV_VAR..=PGC_S_CLIENT).contains(&record.reset_source)
            && !NAMES.iter().any(|name| record.is(name))
    });
    if let Some(record) = unknown {
        let (place, remedy) = text::origin(record.reset_source, &record.name);
        REFUSAL.set(Some(errors::setting_unknown(&record.name, &place, &remedy)));
        return;
    }
    // SAFETY: the argument is a NUL-terminated string that Postgres copies.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(PREFIX.as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr());
    }
}

/// Whether the settings are as they were meant, as far as can be told. To be asked before anything
/// depends on them, and before anybody is taken to be anonymous.
///
/// # Errors
///
/// Where a stored value cannot be read, or a stored name under our prefix is not one of ours. The
/// default in its place might be looser than what was meant.
#[inline]
pub fn check() -> Result<(), Report> {
    if !NAMES_CHECKED.load(Ordering::Relaxed) {
        check_names(&records());
    }
    text::all_readable()?;
    REFUSAL.with_borrow(|refusal| refusal.clone().map_or(Ok(()), Err))
}

/// Whether the client may give the setting that value, or whoever stores it for a role or a database.
/// `scope = 'session'` takes a superuser: it would make the next user of a shared connection inherit
/// the identity of one who did not ask for that.
///
/// Called by a check hook: does not panic and holds nothing to drop.
fn may_be_given(setting: &Setting, value: c_int) -> bool {
    if !std::ptr::eq(setting, &raw const SCOPE) || value != Scope::Session as c_int {
        return true;
    }
    // SAFETY: a transaction can read the catalogs. The session's user and not the current one, which may
    // be the owner of a SECURITY DEFINER function.
    unguarded::IsTransactionState()
        && unsafe { unguarded::superuser_arg(unguarded::GetSessionUserId()) }
}

fn define() {
    // SAFETY: the hooks change their argument and an atomic, or read the variable: they cannot panic
    // or raise. SUPERUSER_ONLY would make set_config() fail, which returns what SHOW shows; the show
    // hook hides the token from superusers too. NO_SHOW_ALL keeps it out of pg_settings, whose
    // reset_val knows no show hook. Parallel workers get the variable itself (SerializeGUCState).
    unsafe {
        Definition {
            name: TOKEN_NAME,
            short: c"The JSON Web Token of this session's user.",
            long: c"Verified at first use; auth.jwt_session_init() also verifies it at once.",
            setting: &TOKEN,
            context: pg_sys::GucContext::PGC_USERSET,
            flags: GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
            check: Some(check_token),
            assign: Some(token_assigned),
            show: Some(show_token),
        }
        .define();
    }
    text::define::<0>(
        c"How long a token set by auth.jwt_session_init() lasts where is_local is NULL.",
        c"auto: in a transaction block until its end, else for the session. \
          transaction: until the end of the transaction, also where is_local is false. \
          session: for the session.",
        GucContext::Userset,
        GucFlags::default(),
    );
    text::define::<1>(
        c"Number of verified tokens that each backend keeps.",
        c"From 0, which turns the cache off, to 1000000.",
        GucContext::Suset,
        GucFlags::default(),
    );
    text::define::<2>(
        c"Which verifications are written to the server log.",
        c"off, failures or all.",
        GucContext::Suset,
        GucFlags::default(),
    );
    text::define::<3>(
        c"Has the planner evaluate auth.user_id() and the like once per execution.",
        c"Off, they are evaluated for each row.",
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    text::define::<4>(
        c"Has auth.user_id() and the like raise an error where there is no token.",
        c"Off, they return NULL, so that policies match no row.",
        GucContext::Userset,
        GucFlags::default(),
    );
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

/// What SHOW, `current_setting` and `set_config` return in the token's place: enough to tell whether
/// there is one.
unsafe extern "C-unwind" fn show_token() -> *const c_char {
    // SAFETY: Postgres keeps the variable pointing to NULL or to a NUL-terminated string.
    let is_empty = unsafe {
        let value = *TOKEN.as_ptr();
        value.is_null() || *value == 0
    };
    if is_empty {
        c"".as_ptr()
    } else {
        c"<token>".as_ptr()
    }
}

unsafe extern "C-unwind" fn token_assigned(_value: *const c_char, _extra: *mut c_void) {
    note_token_assigned();
}

/// Makes the next use look at the token again.
fn note_token_assigned() {
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

/// See [`SCOPE`]. The strictest, where it cannot be read.
pub fn scope() -> Scope {
    match SCOPE.value() {
        Some(0) => Scope::Session,
        Some(1) => Scope::Auto,
        _ => Scope::Transaction,
    }
}

/// See [`CACHE_SIZE`]. Nothing is kept, where it cannot be read.
pub fn cache_size() -> usize {
    CACHE_SIZE
        .value()
        .map_or(0, |size| usize::try_from(size).unwrap_or(0))
}

/// See [`AUDIT_LOG`]. All is logged, where it cannot be read.
pub fn audit_log() -> AuditLog {
    match AUDIT_LOG.value() {
        Some(0) => AuditLog::Off,
        Some(1) => AuditLog::Failures,
        _ => AuditLog::All,
    }
}

/// See [`EVALUATE_ONCE`]. The default, where it cannot be read.
pub fn evaluate_once() -> bool {
    EVALUATE_ONCE.value() != Some(0)
}

/// See [`REQUIRE_TOKEN`]. On, where it cannot be read.
pub fn require_token() -> bool {
    REQUIRE_TOKEN.value() != Some(0)
}
