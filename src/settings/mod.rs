//! The settings `pg_auth_jwt.*`.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucSetting};
use pgrx::pg_sys;

use crate::errors::token_too_long;
use crate::pg::report::Report;
use crate::pg::unguarded;

mod definition;
mod errors;
pub mod foreign;
mod hosts;
mod placeholders;
mod text;

use definition::Definition;
use text::Setting;

/// The session's token: the only place where an identity lives. Everything that Postgres does to a
/// setting (SET LOCAL, rollback, DISCARD ALL, a parallel worker's copy) it also does to the
/// identity.
static TOKEN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// How long a token set by `auth.jwt_session_init` lasts where the call does not state it; see
/// [`Scope`].
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

/// Whether the planner evaluates claim functions once per execution; on by default. If off, they
/// are called wherever the query has them, which helps to rule out a problem with the plan.
static EVALUATE_ONCE: Setting = Setting::boolean(EVALUATE_ONCE_NAME, c"on");

/// Whether a claim function without a token raises an error; off by default. Useful for roles that
/// never work anonymously: there a missing token means that the application forgot it.
static REQUIRE_TOKEN: Setting = Setting::boolean(REQUIRE_TOKEN_NAME, c"off");

/// Whether a claim function without a token raises an error where a setting is given in which other
/// software keeps the user; ignored by default. See [`foreign`].
static UNVERIFIED_CLAIMS: Setting = Setting::choice(
    FOREIGN_SETTINGS_NAME,
    &[c"ignore", c"error"],
    c"Available values: ignore, error.",
    c"ignore",
);

/// The hosts from which keys may be fetched; none by default, because fetching makes the server
/// call hosts that the extension's owner names, who is no superuser.
static FETCH_HOSTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// The file with the certificates of the authorities that these hosts' are checked against; empty
/// by default: those of the operating system.
static FETCH_CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// How long `auth.jwt_session_init` waits for a fetch that it has started, in milliseconds; 1 s by
/// default: most endpoints answer within that, and a login takes no longer.
static FETCH_WAIT: Setting = Setting::milliseconds(
    REFRESH_WAIT_NAME,
    60_000,
    c"Available values: 0 to 60000 milliseconds.",
    c"1000",
);

/// Set when Postgres assigns the token, in any way.
static TOKEN_ASSIGNED: AtomicBool = AtomicBool::new(true);

/// The prefix of all settings.
const PREFIX: &CStr = c"pg_auth_jwt";

/// The name of the setting that holds the token.
pub const TOKEN_NAME: &CStr = c"pg_auth_jwt.token";
const SCOPE_NAME: &CStr = c"pg_auth_jwt.scope";
const CACHE_SIZE_NAME: &CStr = c"pg_auth_jwt.cache_size";
const AUDIT_LOG_NAME: &CStr = c"pg_auth_jwt.audit_log";
const EVALUATE_ONCE_NAME: &CStr = c"pg_auth_jwt.evaluate_once";
const REQUIRE_TOKEN_NAME: &CStr = c"pg_auth_jwt.require_token";
const FOREIGN_SETTINGS_NAME: &CStr = c"pg_auth_jwt.unverified_claims";
const FETCH_HOSTS_NAME: &CStr = c"pg_auth_jwt.fetch_hosts";
const FETCH_CA_FILE_NAME: &CStr = c"pg_auth_jwt.fetch_ca_file";
const REFRESH_WAIT_NAME: &CStr = c"pg_auth_jwt.fetch_wait";

/// The names of all settings.
const NAMES: [&CStr; 10] = [
    TOKEN_NAME,
    SCOPE_NAME,
    CACHE_SIZE_NAME,
    AUDIT_LOG_NAME,
    EVALUATE_ONCE_NAME,
    REQUIRE_TOKEN_NAME,
    FOREIGN_SETTINGS_NAME,
    FETCH_HOSTS_NAME,
    FETCH_CA_FILE_NAME,
    REFRESH_WAIT_NAME,
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
    /// A problem with the settings from before the library was loaded, if no setting's value shows
    /// it.
    static REFUSAL: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// Whether names under our prefix were checked and the prefix was reserved.
static NAMES_CHECKED: AtomicBool = AtomicBool::new(false);

/// The records of the settings under our prefix.
fn records() -> Vec<placeholders::Record> {
    placeholders::with_prefix(b"pg_auth_jwt.", &NAMES)
}

/// Settings from before the library was loaded are placeholders, and their values are kept when
/// they are defined. Not so during a parallel operation, where no setting may change: there
/// Postgres would warn, and continue without the token, or without `scope = transaction`, to the
/// end of the session. So the library is not loaded then.
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
/// Where an earlier value would be lost (in a parallel operation), and where the client has given,
/// as a connection option, a setting that takes a superuser. Postgres accepts that option as a
/// placeholder, which replaces the values of role, database and configuration file, and would now
/// drop the option and those values, with only a warning.
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
    if !is_loaded_by_server() {
        check_names(&before);
    }
    Ok(())
}

/// Whether the server itself is loading the library (`shared_preload_libraries`), and not a session.
pub fn is_loaded_by_server() -> bool {
    // SAFETY: reads a variable of the process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Reserves our prefix, so that no other name under it can be set from now on, unless one is stored.
/// That one is reported at every use, and the prefix not reserved: in older minor releases of Postgres
/// `ALTER ROLE ... RESET` refuses a name under a reserved prefix, and so the remedy.
fn check_names(records: &[placeholders::Record]) {
    use pg_sys::GucSource::{PGC_S_CLIENT, PGC_S_ENV_VAR};

    NAMES_CHECKED.store(true, Ordering::Relaxed);
    // Names that this session itself has set are dropped with Postgres's own warning.
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

/// Checks that the settings are as intended, as far as possible. Must be called before anything
/// depends on them, and before a session counts as anonymous.
///
/// # Errors
///
/// Where a stored value cannot be read, or a stored name under our prefix is not one of ours. The
/// default might be looser than the intended value.
#[inline]
pub fn check() -> Result<(), Report> {
    if !NAMES_CHECKED.load(Ordering::Relaxed) {
        check_names(&records());
    }
    text::all_readable()?;
    REFUSAL.with_borrow(|refusal| refusal.clone().map_or(Ok(()), Err))
}

/// Whether the client, or the role that stores it for a role or a database, may set this value.
/// `scope = 'session'` takes a superuser: it would make the next user of a shared connection
/// inherit an identity that they did not ask for.
///
/// A check hook calls this: it does not panic and holds nothing that needs a drop.
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
    text::define::<5>(
        c"Has auth.user_id() and the like raise an error where another extension's setting has the user.",
        c"error: where there is no token, and pg_session_jwt.jwt, pg_session_jwt.jwk, request.jwt.claims \
          or request.jwt.claim.sub is set. ignore: these settings have no effect.",
        GucContext::Userset,
        GucFlags::default(),
    );
    text::define::<6>(
        c"How long auth.jwt_session_init() waits for keys that it has fetched.",
        c"In milliseconds, from 0, which turns the wait off, to 60000.",
        GucContext::Userset,
        GucFlags::default(),
    );
    define_of_server(
        FETCH_HOSTS_NAME,
        c"Hosts from which auth.follow_url() may have keys fetched.",
        c"Entries are host[:port], *.domain, * or http://host[:port]. Empty: nothing is fetched.",
        &FETCH_HOSTS,
        Some(hosts::check),
        // Names of a network's hosts are no business of those who may only sign in.
        GucFlags::SUPERUSER_ONLY,
    );
    define_of_server(
        FETCH_CA_FILE_NAME,
        c"PEM file with the certificate authorities of the hosts of pg_auth_jwt.fetch_hosts.",
        c"Empty: the operating system's, or else those that come with pg_auth_jwt.",
        &FETCH_CA_FILE,
        None,
        GucFlags::SUPERUSER_ONLY,
    );
}

/// Defines a text that only the server's configuration sets.
fn define_of_server(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    check: pg_sys::GucStringCheckHook,
    flags: GucFlags,
) {
    // SAFETY: the hook neither panics nor raises.
    unsafe {
        text::define_keeping(&Definition {
            name,
            short,
            long,
            setting,
            context: pg_sys::GucContext::PGC_SIGHUP,
            flags,
            check,
            assign: None,
            show: None,
        });
    }
}

/// A token comes from the session, never from a default that is stored for a role or a database:
/// any role may store one for itself (ALTER ROLE ... SET), and where many users share the role,
/// each of them would start with that user's identity.
///
/// The value is replaced by an empty one and not refused: a refusal would quote it.
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

/// What SHOW, `current_setting` and `set_config` return instead of the token: only whether there is
/// one.
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

/// Makes the next use check the token again.
fn note_token_assigned() {
    TOKEN_ASSIGNED.store(true, Ordering::Relaxed);
}

/// Whether the token was assigned since [`clear_token_assigned`].
#[inline]
pub fn token_was_assigned() -> bool {
    TOKEN_ASSIGNED.load(Ordering::Relaxed)
}

/// Must be called before the token is read, so that no assignment is missed.
pub fn clear_token_assigned() {
    TOKEN_ASSIGNED.store(false, Ordering::Relaxed);
}

/// Calls `look` with the token, which is empty if there is none.
///
/// The token is borrowed, so `look` must call nothing that could assign the setting.
///
/// # Errors
///
/// Where it is longer than any token, so that it is never copied: a setting may be as long as a
/// statement, and if Rust cannot allocate memory it ends the process, and Postgres then restarts
/// all its processes.
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
        return Err(token_too_long(bytes));
    }
    Ok(look(token.to_bytes()))
}

/// See [`SCOPE`]. If it cannot be read, the strictest value.
pub fn scope() -> Scope {
    match SCOPE.value() {
        Some(0) => Scope::Session,
        Some(1) => Scope::Auto,
        _ => Scope::Transaction,
    }
}

/// See [`CACHE_SIZE`]. If it cannot be read, nothing is kept.
pub fn cache_size() -> usize {
    CACHE_SIZE
        .value()
        .map_or(0, |size| usize::try_from(size).unwrap_or(0))
}

/// See [`AUDIT_LOG`]. If it cannot be read, all is logged.
pub fn audit_log() -> AuditLog {
    match AUDIT_LOG.value() {
        Some(0) => AuditLog::Off,
        Some(1) => AuditLog::Failures,
        _ => AuditLog::All,
    }
}

/// See [`EVALUATE_ONCE`]. If it cannot be read, the default.
pub fn evaluate_once() -> bool {
    EVALUATE_ONCE.value() != Some(0)
}

/// See [`FETCH_HOSTS`]. What cannot be UTF-8 names no host.
pub fn fetch_hosts() -> String {
    text_of(&FETCH_HOSTS)
}

/// Whether keys may be fetched from any host.
pub fn fetching_is_on() -> bool {
    !fetch_hosts().trim().is_empty()
}

/// See [`FETCH_CA_FILE`].
pub fn fetch_ca_file() -> String {
    text_of(&FETCH_CA_FILE)
}

fn text_of(setting: &'static GucSetting<Option<CString>>) -> String {
    let bytes = setting.get().unwrap_or_default().into_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// See [`FETCH_WAIT`]. If it cannot be read, there is no wait.
pub fn fetch_wait() -> Duration {
    let milliseconds = FETCH_WAIT.value().unwrap_or(0);
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// See [`REQUIRE_TOKEN`]. If it cannot be read, on.
pub fn require_token() -> bool {
    REQUIRE_TOKEN.value() != Some(0)
}

/// See [`UNVERIFIED_CLAIMS`]. If it cannot be read, they are refused.
pub fn refuses_foreign() -> bool {
    UNVERIFIED_CLAIMS.value() != Some(0)
}
