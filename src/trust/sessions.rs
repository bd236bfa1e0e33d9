//! Whether the session of a token is still in the table where its issuer keeps its sessions.
//!
//! No trigger announces that a session ends. So each statement that uses the token looks for the
//! session's row, by an index and with a fresh snapshot. The table itself is examined once, and again
//! when it, or a name or a role, may have changed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jwt_verify::{Error, Excerpt, UnixTime};
use pgrx::pg_sys;
use serde_json::Value;

use crate::pg::clock;
use crate::pg::report::{Report, SqlState};
use crate::pg::row::{Columns, Row};
use crate::pg::unguarded;
use crate::trust::keys::{self, Generation};
use crate::trust::lookup::in_a_context;
use crate::trust::source::fault::Fault;
use crate::trust::source::open::{self, NotOpened};
use crate::trust::source::sessions::{ENDS, ID, MEMBERS, SessionSource, Sessions};
use crate::trust::tables::watched;
use crate::trust::tables::{self, IsLocked, Table};

/// Time that a statement waits for a locked table, and the interval of its attempts.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Number of times that the table is looked up if others drop, rename or replace it meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Maximum number of tables of sessions that a backend knows.
const MAX_KNOWN: usize = 8;

thread_local! {
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// A table that was examined, at that time.
struct Known {
    source: SessionSource,
    as_of: Generation,
    examined: Rc<Examined>,
}

/// A table whose rows may be used.
struct Examined {
    oid: pg_sys::Oid,
    columns: Columns,
    /// The column of each of [`MEMBERS`].
    mapped: [Option<String>; MEMBERS.len()],
}

/// Time of the last look for a session; [`NO_LOOK`] if the identity that is known needed none.
static LAST_LOOK: AtomicI64 = AtomicI64::new(NO_LOOK);
const NO_LOOK: pg_sys::TimestampTz = i64::MIN;

/// Time of the last look for a session, since [`forget_look`]. Called in a hook: cannot raise.
#[inline]
pub fn last_look() -> Option<pg_sys::TimestampTz> {
    Some(LAST_LOOK.load(Ordering::Relaxed)).filter(|look| *look != NO_LOOK)
}

/// The identity is determined anew.
pub fn forget_look() {
    LAST_LOOK.store(NO_LOOK, Ordering::Relaxed);
}

/// The session that the claims name; `None` without such a claim, or for an issuer that follows none.
pub fn named_in(sessions: Option<&Sessions>, claims: &str) -> Option<String> {
    let source = sessions?.source.as_ref()?;
    let claims: Value = serde_json::from_str(claims).ok()?;
    match source.claim.find_in(&claims)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// The error if the token's session, of this name, is not there any more, or has ended at that time.
///
/// # Errors
///
/// If that cannot be known.
pub fn check(
    sessions: &Sessions,
    id: Option<&str>,
    now: UnixTime,
) -> Result<Option<Error>, Report> {
    let Some(source) = &sessions.source else {
        return Err(unreadable(NOT_PARSED.to_owned()));
    };
    let claim = || Excerpt::new(&source.claim.to_string());
    let Some(id) = id else {
        return Ok(Some(Error::MissingClaim { claim: claim() }));
    };
    let (table, examined) = open(source)?;
    // Before it, so that no sign-out is older than the look.
    LAST_LOOK.store(unguarded::GetCurrentTimestamp(), Ordering::Relaxed);
    let column = |member: usize| examined.mapped.get(member).and_then(Option::as_deref);
    let id_column = column(ID).unwrap_or_default();
    let mut found = 0_usize;
    let mut end = UnixTime::MAX;
    in_a_context(|| {
        let see = |row: &Row| {
            found = found.saturating_add(1);
            let ends = ENDS
                .iter()
                .filter_map(|member| row.instant(column(*member)?));
            end = ends
                .map(clock::from_postgres)
                .chain([end])
                .min()
                .unwrap_or(end);
        };
        // SAFETY: it was examined whether it is an ordinary table; the columns are its own.
        unsafe { table.rows_now(&examined.columns, &[(id_column, id)], 2, see) }
    });
    Ok(match found {
        0 => Some(Error::SessionEnded {
            claim: claim(),
            ended: None,
        }),
        _ if end <= now => Some(Error::SessionEnded {
            claim: claim(),
            ended: Some(end),
        }),
        _ => None,
    })
}

/// Opens the table, if it is still the one that was followed.
fn open(source: &SessionSource) -> Result<(Table, Rc<Examined>), Report> {
    let begun = Instant::now();
    let mut attempts: usize = 0;
    let mut kept = known(source, keys::generation()).filter(|_| !keys::are_stale());
    loop {
        let examined = match kept.take() {
            Some(examined) => examined,
            None => examine(source, keys::generation())?,
        };
        let before = tables::invalidations();
        match Table::open_unless_locked(examined.oid) {
            // An invalidation that came with the lock may be the table's.
            Ok(Some(table)) if tables::invalidations() == before => return Ok((table, examined)),
            Ok(_) => {}
            Err(IsLocked) if begun.elapsed() >= LOCK_PATIENCE => return Err(locked(source)),
            Err(IsLocked) => {
                // SAFETY: sleeps; then raises an error if the client or an operator cancelled
                // meanwhile.
                unsafe { pg_sys::pg_usleep(LOCK_RETRY.as_micros() as _) };
                pgrx::check_for_interrupts!();
                continue;
            }
        }
        attempts = attempts.saturating_add(1);
        if attempts > MAX_ATTEMPTS {
            return Err(unreadable(detail(&Fault::NoTable, source)));
        }
    }
}

fn known(source: &SessionSource, generation: Generation) -> Option<Rc<Examined>> {
    KNOWN.with_borrow(|known| {
        let mut known = known.iter();
        let found = known.find(|known| known.as_of == generation && known.source == *source)?;
        Some(Rc::clone(&found.examined))
    })
}

/// Examines the table by the rules of `auth.follow`.
fn examine(source: &SessionSource, generation: Generation) -> Result<Rc<Examined>, Report> {
    let (_, examined) = examined_now(source).map_err(|problem| match problem {
        NotOpened::Locked => locked(source),
        NotOpened::Fault(fault) => unreadable(detail(&fault, source)),
    })?;
    let examined = Rc::new(examined);
    KNOWN.with_borrow_mut(|known| {
        known.retain(|known| known.as_of == generation && known.source != *source);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.push(Known {
            source: source.clone(),
            as_of: generation,
            examined: Rc::clone(&examined),
        });
    });
    Ok(examined)
}

fn examined_now(source: &SessionSource) -> Result<(Table, Examined), NotOpened> {
    let oid = source.table.find().ok_or(Fault::NoTable)?;
    // Before it is looked at, so that no change is missed.
    watched::add(oid);
    let table = Table::open_unless_locked(oid)?.ok_or(Fault::NoTable)?;
    let owner = open::check_kind(&table)?;
    if !source.table.is_owner(owner) {
        let owner = open::role_name(owner).unwrap_or_default();
        return Err(Fault::OtherOwner(owner).into());
    }
    open::check_public(&table)?;
    let columns = table.columns();
    let mapped = open::resolve(&columns, &MEMBERS, &source.columns)?;
    let reader = tables::extension_owner().unwrap_or(pg_sys::InvalidOid);
    open::check_readable(&table, &columns, &mapped, reader)?;
    let examined = Examined {
        oid,
        columns,
        mapped,
    };
    Ok((table, examined))
}

/// State of an issuer's table of sessions, for `auth.session_status`.
pub struct State {
    /// `live`, `locked` or `missing`.
    pub name: &'static str,
    /// Whether a session is found by an index.
    pub has_index: Option<bool>,
    /// The problem, as a sentence.
    pub detail: Option<String>,
}

/// The state at this moment.
pub fn state(sessions: &Sessions) -> State {
    let missing = |detail| State {
        name: "missing",
        has_index: None,
        detail: Some(detail),
    };
    let Some(source) = &sessions.source else {
        return missing(NOT_PARSED.to_owned());
    };
    match examined_now(source) {
        Ok((table, examined)) => {
            let id = examined.mapped.get(ID).and_then(Option::as_deref);
            let has_index = table.has_index(&examined.columns, id.unwrap_or_default());
            let name = source.table.qualified_name();
            State {
                name: "live",
                has_index: Some(has_index),
                detail: (!has_index).then(|| {
                    format!(
                        "Table {name} has no index on its ids, so each statement reads all of it."
                    )
                }),
            }
        }
        Err(NotOpened::Locked) => State {
            name: "locked",
            has_index: None,
            detail: Some(format!(
                "Table {} is locked.",
                source.table.qualified_name()
            )),
        },
        Err(NotOpened::Fault(fault)) => missing(detail(&fault, source)),
    }
}

/// The problem of a column `sessions` that cannot be parsed.
const NOT_PARSED: &str =
    "Column \"sessions\" of auth.issuers does not hold what auth.follow_sessions() writes.";

/// The problem, as a sentence.
fn detail(fault: &Fault, source: &SessionSource) -> String {
    fault.detail_by("auth.follow_sessions()", Some(&source.table))
}

/// A table of sessions that cannot be used: a fault of this server, and not of the token.
fn unreadable(detail: String) -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "could not read the issuer's sessions",
    )
    .detail(detail)
    .hint("Until they can be read, no token of the issuer is accepted. auth.lint() says more.")
}

fn locked(source: &SessionSource) -> Report {
    let name = source.table.qualified_name();
    Report::new(
        SqlState::LOCK_NOT_AVAILABLE,
        "could not read the issuer's sessions",
    )
    .detail(format!("Table {name} is locked."))
    .hint("Try again once the lock is released.")
}
