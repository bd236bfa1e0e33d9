//! The settings `pg_auth_jwt.*`: [`table`] has a row for each.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::guc::GucSetting;
use pgrx::pg_sys;

use crate::pg::definition::Definition;
use crate::pg::placeholders;
use crate::pg::report::Report;

mod errors;
mod hosts;
mod login;
pub mod table;
mod text;
pub mod token;
pub mod unverified;

#[cfg(login_by_token)]
pub use login::{
    boolean_of, force_at_login, login_claim, login_database, login_superuser, login_workers,
};
use table::{
    AUDIT_LOG, CACHE_SIZE, EVALUATE_ONCE, FETCH_CA_FILE, FETCH_HOSTS, FETCH_WAIT, REQUIRE_TOKEN,
    SCOPE, SIGNATURE_CACHE, TOKEN, UNVERIFIED_CLAIMS, ValueKind, Visit,
};

/// The prefix of all settings.
const PREFIX: &CStr = c"pg_auth_jwt";

/// Values of `pg_auth_jwt.scope`: effect of `auth.jwt_session_init` if `is_local` is NULL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The token is set for the session.
    Session,
    /// In a transaction block it is set for the transaction, elsewhere for the session.
    Auto,
    /// It is set for the transaction, even if `is_local` is false.
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

/// Whether it is the record of one of our settings.
fn is_ours(record: &placeholders::Record) -> bool {
    table::ALL.iter().any(|setting| record.is(setting.name))
}

/// The records of the settings under our prefix.
fn records() -> Vec<placeholders::Record> {
    placeholders::with_prefix(b"pg_auth_jwt.", &table::ALL.map(|setting| setting.name))
}

/// Settings from before the library was loaded are placeholders, and their values are kept when
/// they are defined. Not so during a parallel operation, in which no setting may change: Postgres
/// would then warn, and continue without the token, or without `scope = transaction`, to the end of
/// the session. So the library is not loaded then.
fn refuse_lossy_load(records: &[placeholders::Record]) -> Result<(), Report> {
    use pg_sys::GucSource::PGC_S_DEFAULT;
    // SAFETY: the name is NUL-terminated; GetConfigOption gives NULL for one that is not known, else
    // a NUL-terminated string.
    let holds_token = || unsafe {
        let value = pg_sys::GetConfigOption(TOKEN.name.as_ptr(), true, false);
        !value.is_null() && *value != 0
    };
    let is_lost = |record: &placeholders::Record| {
        if record.is(TOKEN.name) {
            holds_token()
        } else {
            is_ours(record)
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
/// If an earlier value would be lost (in a parallel operation), or if the client has given a
/// setting that takes a superuser as a connection option. Postgres accepts that option as a
/// placeholder, which replaces the values of role, database and configuration file, and would now
/// drop the option and those values, with only a warning.
pub fn register() -> Result<(), Report> {
    use pg_sys::GucSource::PGC_S_CLIENT;

    if let Some(refusal) = REFUSAL.with_borrow(Clone::clone) {
        return Err(refusal);
    }
    let before = records();
    refuse_lossy_load(&before)?;
    let is_given = |record: &placeholders::Record| record.reset_source == PGC_S_CLIENT;
    table::visit_each(&Define);
    if before.iter().any(is_given) {
        let after = records();
        let gives = |records: &[placeholders::Record], name: &CStr| {
            records
                .iter()
                .any(|record| record.is(name) && is_given(record))
        };
        let denied = table::ALL
            .iter()
            .find(|setting| gives(&before, setting.name) && !gives(&after, setting.name));
        if let Some(setting) = denied {
            let refusal = errors::setting_denied(&setting.name.to_string_lossy());
            REFUSAL.set(Some(refusal.clone()));
            return Err(refusal);
        }
    }
    // Before a session has its settings, they are checked at its first use.
    if !is_loaded_before_session() {
        check_names(&before);
    }
    Ok(())
}

/// Whether the server itself is loading the library (`shared_preload_libraries`), and not a session.
pub fn is_loaded_by_server() -> bool {
    // SAFETY: reads a variable of the process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether the library is being loaded before there is a session: by the server itself, or for the login of a client. A
/// session in no database has no settings that are stored for one either.
fn is_loaded_before_session() -> bool {
    // SAFETY: reads a variable of the process.
    is_loaded_by_server() || unsafe { pg_sys::MyDatabaseId } == pg_sys::InvalidOid
}

/// Reserves our prefix, so that no other name under it can be set from now on, unless one is
/// stored. A stored one is reported at every use, and the prefix is not reserved: in older minor
/// releases of Postgres `ALTER ROLE ... RESET` refuses a name under a reserved prefix, and so the
/// remedy.
fn check_names(records: &[placeholders::Record]) {
    use pg_sys::GucSource::{PGC_S_CLIENT, PGC_S_ENV_VAR};

    NAMES_CHECKED.store(true, Ordering::Relaxed);
    // Names that this session itself has set are dropped with Postgres's own warning.
    let unknown = records.iter().find(|record| {
        record.is_placeholder
            && (PGC_S_ENV_VAR..=PGC_S_CLIENT).contains(&record.reset_source)
            && !is_ours(record)
    });
    if let Some(record) = unknown {
        let (place, remedy) = text::origin(record.reset_source, &record.name);
        REFUSAL.set(Some(errors::setting_unknown(&record.name, &place, &remedy)));
        return;
    }
    // SAFETY: the argument is a NUL-terminated string that Postgres copies.
    unsafe { pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr()) };
}

/// Checks that the settings are as intended, as far as possible. Must be called before anything
/// depends on them, and before a session counts as anonymous.
///
/// # Errors
///
/// If a stored value cannot be read, or if a stored name under our prefix is not one of ours. The
/// default might be looser than the intended value.
#[inline]
pub fn check() -> Result<(), Report> {
    if !NAMES_CHECKED.load(Ordering::Relaxed) {
        check_names(&records());
    }
    text::all_readable()?;
    REFUSAL.with_borrow(|refusal| refusal.clone().map_or(Ok(()), Err))
}

/// Defines a setting.
struct Define;

impl Visit for Define {
    fn visit<const I: usize>(&self) {
        let Some(setting) = table::ALL.get(I) else {
            return;
        };
        let (check, assign, show): (
            pg_sys::GucStringCheckHook,
            pg_sys::GucStringAssignHook,
            pg_sys::GucShowHook,
        ) = match setting.kind {
            ValueKind::Token => (Some(token::check), Some(token::assigned), Some(token::show)),
            ValueKind::Choice { .. } | ValueKind::Boolean | ValueKind::Integer { .. } => {
                (Some(text::check::<I>), Some(text::assign::<I>), None)
            }
            ValueKind::Hosts => (Some(hosts::check), None, None),
            ValueKind::Text => (None, None, None),
        };
        let definition = Definition {
            name: setting.name,
            short: setting.short,
            long: setting.long,
            setting: &setting.text,
            context: context_of(setting),
            flags: setting.flags,
            check,
            assign,
            show,
        };
        // SAFETY: the hooks neither panic nor raise, as the heads of their files say.
        unsafe { text::define_keeping(&definition) };
    }
}

/// Postgres ends a session that defines a setting of the postmaster's, so there the configuration file sets it.
fn context_of(setting: &table::Setting) -> pg_sys::GucContext::Type {
    use pg_sys::GucContext::{PGC_POSTMASTER, PGC_SIGHUP};
    match setting.context {
        PGC_POSTMASTER if !is_loaded_by_server() => PGC_SIGHUP,
        context => context,
    }
}

/// See [`SIGNATURE_CACHE`], in bytes. If it cannot be read, there is none.
pub fn signature_cache() -> usize {
    SIGNATURE_CACHE
        .value()
        .and_then(|kibibytes| usize::try_from(kibibytes).ok())
        .map_or(0, |kibibytes| kibibytes.saturating_mul(1024))
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

/// See [`FETCH_HOSTS`]. A text that is not UTF-8 names no host.
pub fn fetch_hosts() -> String {
    text_of(&FETCH_HOSTS.text)
}

/// As [`fetch_hosts`]; `None` where there are hosts that the current role may not see, as for SHOW.
pub fn visible_fetch_hosts() -> Option<String> {
    if !fetching_is_on() {
        return Some(String::new());
    }
    const READERS: pg_sys::Oid = pg_sys::Oid::from_u32(pg_sys::ROLE_PG_READ_ALL_SETTINGS);
    // SAFETY: plain values; a transaction can read the catalogs.
    let may_see = unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), READERS) };
    may_see.then(fetch_hosts)
}

/// Whether keys may be fetched from any host.
pub fn fetching_is_on() -> bool {
    !fetch_hosts().trim().is_empty()
}

/// See [`FETCH_CA_FILE`].
pub fn fetch_ca_file() -> String {
    text_of(&FETCH_CA_FILE.text)
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
pub fn refuses_unverified() -> bool {
    UNVERIFIED_CLAIMS.value() != Some(0)
}
